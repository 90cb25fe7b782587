// golang/groupcache behind net/http.
package main

import (
	"context"
	"fmt"
	"net/http"
	"os"

	"github.com/golang/groupcache"
	"muster/bench/contestants/served"
)

func main() {
	if err := run(served.Parse()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(o served.Options) error {
	client := &http.Client{Transport: served.Pool()}
	hops := &served.Hops{Pool: served.Pool()}
	elsewhere := func(string) bool { return false }
	if o.PeerAddr != "" {
		pool := groupcache.NewHTTPPoolOpts("http://"+o.PeerAddr, nil)
		pool.Transport = func(context.Context) http.RoundTripper { return hops }
		urls := make([]string, len(o.Peers))
		for i, address := range o.Peers {
			urls[i] = "http://" + address
		}
		pool.Set(urls...)
		elsewhere = func(key string) bool {
			_, ok := pool.PickPeer(key)
			return ok
		}
		failed := make(chan error, 1)
		go func() { failed <- http.ListenAndServe(o.PeerAddr, pool) }()
	}
	group := groupcache.NewGroup(served.Group, o.BudgetBytes, groupcache.GetterFunc(
		func(ctx context.Context, key string, dest groupcache.Sink) error {
			value, err := served.Load(ctx, client, o.Origin, key)
			if err != nil {
				return err
			}
			return dest.SetBytes(value)
		}))
	return served.Serve(o, served.Node{
		Hops:        hops,
		IsElsewhere: elsewhere,
		Get: func(ctx context.Context, key string) (served.View, error) {
			var value groupcache.ByteView
			err := group.Get(ctx, key, groupcache.ByteViewSink(&value))
			return value, err
		},
	})
}
