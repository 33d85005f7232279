// stargzd serves stargz-snapshotter on a socket: Debian packages its library, but no daemon.
//
// Usage: stargzd SOCKET ROOT REGISTRY; the registry (host:port) is spoken to by plain HTTP. With
// NO_BACKGROUND set nothing is fetched but what is read and what is prefetched.
package main

import (
	"context"
	"log"
	"net"
	"os"

	snapshotsapi "github.com/containerd/containerd/api/services/snapshots/v1"
	"github.com/containerd/containerd/contrib/snapshotservice"
	"github.com/containerd/stargz-snapshotter/service"
	"github.com/containerd/stargz-snapshotter/service/resolver"
	"google.golang.org/grpc"
)

func main() {
	socket, root, registry := os.Args[1], os.Args[2], os.Args[3]
	mirrors := []resolver.MirrorConfig{{Host: registry, Insecure: true}}
	hosts := map[string]resolver.HostConfig{registry: {Mirrors: mirrors}}
	config := &service.Config{ResolverConfig: service.ResolverConfig{Host: hosts}}
	config.NoBackgroundFetch = os.Getenv("NO_BACKGROUND") != ""
	config.NoPrometheus = true
	snapshotter, err := service.NewStargzSnapshotterService(context.Background(), root, config)
	if err != nil {
		log.Fatal(err)
	}
	listener, err := net.Listen("unix", socket)
	if err != nil {
		log.Fatal(err)
	}
	server := grpc.NewServer()
	snapshotsapi.RegisterSnapshotsServer(server, snapshotservice.FromSnapshotter(snapshotter))
	log.Fatal(server.Serve(listener))
}
