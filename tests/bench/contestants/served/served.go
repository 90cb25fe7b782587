// Package served is what both Go contestants share: options, the origin, the routes that a muster node has too, and the
// count of hops.
package served

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
)

// Group is the name of the one group.
const Group = "bench"

const (
	maxValueBytes = 16 << 20
	maxOwned      = 1 << 20
)

// Options are the same for every contestant.
type Options struct {
	Addr, PeerAddr, Origin string
	Peers                  []string
	BudgetBytes            int64
}

// Parse reads the command line.
func Parse() Options {
	var o Options
	var peers string
	flag.StringVar(&o.Addr, "addr", "127.0.0.1:0", "where clients ask")
	flag.StringVar(&o.PeerAddr, "peer-addr", "", "where the other nodes ask")
	flag.StringVar(&peers, "peers", "", "the peer addresses of all nodes, this one included, with commas")
	flag.StringVar(&o.Origin, "origin", "", "http://host/path/{key}")
	flag.Int64Var(&o.BudgetBytes, "budget-bytes", 64<<20, "main and hot cache together")
	flag.Parse()
	if peers != "" {
		o.Peers = strings.Split(peers, ",")
	}
	return o
}

// Pool is a transport for which a hop does not open a connection: the stock one keeps two idle ones per host.
func Pool() *http.Transport {
	pool := http.DefaultTransport.(*http.Transport).Clone()
	pool.MaxIdleConns, pool.MaxIdleConnsPerHost = 4096, 1024
	return pool
}

// Hops counts the requests to other nodes.
type Hops struct {
	Pool  *http.Transport
	count atomic.Int64
}

func (h *Hops) RoundTrip(request *http.Request) (*http.Response, error) {
	h.count.Add(1)
	return h.Pool.RoundTrip(request)
}

// Load asks the origin.
func Load(ctx context.Context, client *http.Client, origin, key string) ([]byte, error) {
	address := strings.ReplaceAll(origin, "{key}", url.PathEscape(key))
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the origin answered %s", response.Status)
	}
	return io.ReadAll(io.LimitReader(response.Body, maxValueBytes))
}

// View is a value that is not copied: both libraries have one.
type View interface {
	Len() int
	WriteTo(w io.Writer) (int64, error)
}

// Node is what the routes ask.
type Node struct {
	// Get gives the value as the library holds it, without a copy.
	Get func(ctx context.Context, key string) (View, error)
	// IsElsewhere tells whether another node owns the key.
	IsElsewhere func(key string) bool
	Hops        *Hops
}

// Serve answers until the process is ended.
func Serve(o Options, n Node) error {
	mux := http.NewServeMux()
	var gets atomic.Int64
	prefix := "/cache/" + Group + "/"
	mux.HandleFunc(prefix, func(w http.ResponseWriter, r *http.Request) {
		gets.Add(1)
		value, err := n.Get(r.Context(), r.URL.Path[len(prefix):])
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		header := w.Header()
		header["Content-Length"] = []string{strconv.Itoa(value.Len())}
		header["Content-Type"] = contentType
		header["Cache-Status"] = cacheStatus
		header["X-Content-Type-Options"] = noSniff
		_, _ = value.WriteTo(w)
	})
	// Of the first `count` keys, those that another node owns, by their number.
	mux.HandleFunc("/elsewhere", func(w http.ResponseWriter, r *http.Request) {
		count, _ := strconv.Atoi(r.URL.Query().Get("count"))
		found := []int{}
		for i := 0; i < min(count, maxOwned); i++ {
			if n.IsElsewhere(fmt.Sprintf("key-%d", i)) {
				found = append(found, i)
			}
		}
		_ = json.NewEncoder(w).Encode(found)
	})
	mux.HandleFunc("/figures", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]any{"gets": gets.Load(), "hops": n.Hops.count.Load(), "version": runtime.Version()})
	})
	listener, err := net.Listen("tcp", o.Addr)
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "listening on http://%s\n", listener.Addr())
	return http.Serve(listener, mux)
}

// The headers that a muster node sends with a value: shared, as net/http only reads them.
var (
	contentType = []string{"application/octet-stream"}
	cacheStatus = []string{`"127-0-0-1-8000"; hit`}
	noSniff     = []string{"nosniff"}
)
