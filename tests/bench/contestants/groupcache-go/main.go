// groupcache-go v3 behind net/http.
package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"time"

	groupcache "github.com/groupcache/groupcache-go/v3"
	"github.com/groupcache/groupcache-go/v3/transport"
	"github.com/groupcache/groupcache-go/v3/transport/peer"
	"muster/bench/contestants/served"
)

const peerTimeout = 10 * time.Second

func main() {
	if err := run(served.Parse()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(o served.Options) error {
	ctx := context.Background()
	client := &http.Client{Transport: served.Pool()}
	hops := &served.Hops{Pool: served.Pool()}
	silent := slog.New(slog.NewTextHandler(io.Discard, nil))
	if o.PeerAddr == "" {
		o.PeerAddr = "127.0.0.1:0"
	}
	daemon, err := groupcache.ListenAndServe(ctx, o.PeerAddr, groupcache.Options{
		Logger: silent,
		Transport: transport.NewHttpTransport(transport.HttpTransportOptions{
			Client: &http.Client{Transport: hops, Timeout: peerTimeout},
			Logger: silent,
		}),
	})
	if err != nil {
		return err
	}
	if len(o.Peers) == 0 {
		o.Peers = []string{daemon.ListenAddress()}
	}
	infos := make([]peer.Info, len(o.Peers))
	for i, address := range o.Peers {
		infos[i] = peer.Info{Address: address}
	}
	if err := daemon.SetPeers(ctx, infos); err != nil {
		return err
	}
	group, err := daemon.NewGroup(served.Group, o.BudgetBytes, groupcache.GetterFunc(
		func(ctx context.Context, key string, dest transport.Sink) error {
			value, err := served.Load(ctx, client, o.Origin, key)
			if err != nil {
				return err
			}
			return dest.SetBytes(value, time.Time{})
		}))
	if err != nil {
		return err
	}
	return served.Serve(o, served.Node{
		Hops: hops,
		IsElsewhere: func(key string) bool {
			_, isRemote := daemon.GetInstance().PickPeer(key)
			return isRemote
		},
		Get: func(ctx context.Context, key string) (served.View, error) {
			var value transport.ByteView
			err := group.Get(ctx, key, transport.ByteViewSink(&value))
			return value, err
		},
	})
}
