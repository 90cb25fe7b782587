// golang/groupcache's ring: the time of a lookup, and how evenly it shares keys out. Prints one JSON object.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/golang/groupcache/consistenthash"
)

const replicas = 50 // HTTPPool's default

func ringOf(peers int) *consistenthash.Map {
	ring := consistenthash.New(replicas, nil)
	for i := 0; i < peers; i++ {
		ring.Add(fmt.Sprintf("http://127.0.0.1:%d", 8000+i))
	}
	return ring
}

func main() {
	lookups := flag.Int("lookups", 1_000_000, "per size")
	keys := flag.Int("keys", 1_000_000, "to share out")
	flag.Parse()
	names := make([]string, 4096)
	for i := range names {
		names[i] = fmt.Sprintf("key-%d", i)
	}
	micros := map[int]float64{}
	for _, peers := range []int{10, 100, 1000} {
		ring := ringOf(peers)
		used := 0
		since := time.Now()
		for i := 0; i < *lookups; i++ {
			used += len(ring.Get(names[i&4095]))
		}
		micros[peers] = float64(time.Since(since).Nanoseconds()) / float64(*lookups) / 1000
		if used == 0 {
			panic("nobody owns a key")
		}
	}
	fullest := map[int]float64{}
	for _, peers := range []int{10, 100} {
		ring := ringOf(peers)
		counts := map[string]int{}
		most := 0
		for i := 0; i < *keys; i++ {
			owner := ring.Get(fmt.Sprintf("key-%d", i))
			counts[owner]++
			most = max(most, counts[owner])
		}
		fullest[peers] = float64(most) * float64(peers) / float64(*keys)
	}
	if err := json.NewEncoder(os.Stdout).Encode(map[string]any{"micros": micros, "fullest": fullest}); err != nil {
		panic(err)
	}
}
