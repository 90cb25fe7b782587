module muster/bench/contestants

go 1.22

require (
	github.com/golang/groupcache v0.0.0-20241129210726-2c02b8208cf8
	github.com/groupcache/groupcache-go/v3 v3.2.0
)

require (
	github.com/golang/protobuf v1.5.4 // indirect
	github.com/segmentio/fasthash v1.0.3 // indirect
	golang.org/x/net v0.22.0 // indirect
	google.golang.org/protobuf v1.33.0 // indirect
)
