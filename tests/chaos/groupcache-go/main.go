// A groupcache-go node for the chaos program: the same routes and the same origin as a muster node has, with peers that
// are told to it. SIGTERM stops it as a Go service is stopped: not ready, a moment for load balancers to see it, then a
// graceful shutdown of both servers.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	groupcache "github.com/groupcache/groupcache-go/v3"
	"github.com/groupcache/groupcache-go/v3/transport"
	"github.com/groupcache/groupcache-go/v3/transport/peer"
)

const (
	// As muster's default for an owner that does not answer.
	peerTimeout     = 10 * time.Second
	originTimeout   = 10 * time.Second
	unreadyGrace    = 500 * time.Millisecond
	shutdownTimeout = 3 * time.Second
	maxValueBytes   = 16 << 20
)

type node struct {
	daemon *groupcache.Daemon
	group  transport.Group
	ready  atomic.Bool
}

func main() {
	addr := flag.String("addr", "127.0.0.1:0", "where clients ask")
	peerAddr := flag.String("peer-addr", "127.0.0.1:0", "where the other nodes ask")
	peers := flag.String("peers", "", "the peer addresses of all nodes, this one included, with commas")
	origin := flag.String("origin", "", "http://host/path/{key}")
	budget := flag.Int64("budget-bytes", 256<<20, "main and hot cache together")
	flag.Parse()
	if err := run(*addr, *peerAddr, *peers, *origin, *budget); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(addr, peerAddr, peers, origin string, budget int64) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	n := &node{}
	if err := n.start(ctx, peerAddr, origin, budget); err != nil {
		return err
	}
	if err := n.tell(ctx, strings.Split(peers, ",")); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: n.routes()}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	n.ready.Store(true)
	fmt.Fprintf(os.Stderr, "listening on http://%s\n", listener.Addr())
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	n.ready.Store(false)
	time.Sleep(unreadyGrace)
	deadline, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
	defer cancel()
	if err := server.Shutdown(deadline); err != nil {
		return err
	}
	return n.daemon.Shutdown(deadline)
}

func (n *node) start(ctx context.Context, peerAddr, origin string, budget int64) error {
	// The default transport keeps two idle connections per peer, which is no fair opponent.
	pool := http.DefaultTransport.(*http.Transport).Clone()
	pool.MaxIdleConns, pool.MaxIdleConnsPerHost = 1024, 256
	daemon, err := groupcache.ListenAndServe(ctx, peerAddr, groupcache.Options{
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Transport: transport.NewHttpTransport(transport.HttpTransportOptions{
			Client: &http.Client{Transport: pool, Timeout: peerTimeout},
			Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
		}),
	})
	if err != nil {
		return err
	}
	n.daemon = daemon
	loader := &http.Client{Transport: pool.Clone(), Timeout: originTimeout}
	n.group, err = daemon.NewGroup("chaos", budget, groupcache.GetterFunc(
		func(ctx context.Context, key string, dest transport.Sink) error {
			value, err := load(ctx, loader, strings.ReplaceAll(origin, "{key}", url.PathEscape(key)))
			if err != nil {
				return err
			}
			return dest.SetBytes(value, time.Time{})
		}))
	return err
}

func load(ctx context.Context, client *http.Client, address string) ([]byte, error) {
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

// tell replaces the list of peers; the daemon finds itself in it.
func (n *node) tell(ctx context.Context, addresses []string) error {
	infos := make([]peer.Info, len(addresses))
	for i, address := range addresses {
		infos[i] = peer.Info{Address: address}
	}
	return n.daemon.SetPeers(ctx, infos)
}

func (n *node) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /cache/chaos/{key}", func(w http.ResponseWriter, r *http.Request) {
		var value []byte
		if err := n.group.Get(r.Context(), r.PathValue("key"), transport.AllocatingByteSliceSink(&value)); err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(value)))
		w.Header().Set("Content-Type", "application/octet-stream")
		_, _ = w.Write(value)
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if !n.ready.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	mux.HandleFunc("PUT /peers", func(w http.ResponseWriter, r *http.Request) {
		var addresses []string
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<16)).Decode(&addresses); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		if err := n.tell(context.Background(), addresses); err != nil {
			http.Error(w, err.Error(), http.StatusConflict)
		}
	})
	return mux
}
