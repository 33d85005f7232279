// Package conformance runs containerd's own snapshotter suite against the compiled daemon, through
// the proxy client that containerd uses.
//
// The tests of the suite run in parallel and share key names, so each one gets a daemon with a root
// of its own. When a test ends, all its snapshots are removed; the daemon then has to end cleanly
// and leave no mount and no loop device behind.
package conformance

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	snapshotsapi "github.com/containerd/containerd/api/services/snapshots/v1"
	"github.com/containerd/containerd/namespaces"
	"github.com/containerd/containerd/pkg/dialer"
	"github.com/containerd/containerd/snapshots"
	"github.com/containerd/containerd/snapshots/proxy"
	"github.com/containerd/containerd/snapshots/testsuite"
	"google.golang.org/grpc"
)

var (
	binary = flag.String("binary", "", "the daemon to test")
	method = flag.String("method", "auto", "how it mounts layers: auto, file or loop")
)

const (
	startTimeout = 20 * time.Second
	stopTimeout  = 20 * time.Second
)

const config = `{
  "api": {"address": "127.0.0.1:0"},
  "mount": {"method": %q, "idle_timeout_ms": 100},
  "conversion": {"enabled": true}
}`

type daemon struct {
	root    string
	socket  string
	log     bytes.Buffer
	command *exec.Cmd
}

// startDaemon starts the daemon with its data below root and waits for its socket.
func startDaemon(root string) (*daemon, error) {
	d := &daemon{root: root, socket: filepath.Join(root, "s.sock")}
	configFile := filepath.Join(root, "config.json")
	if err := os.WriteFile(configFile, []byte(fmt.Sprintf(config, *method)), 0600); err != nil {
		return nil, err
	}
	d.command = exec.Command(*binary, "serve")
	d.command.Dir = "/"
	d.command.Env = []string{
		"PATH=" + os.Getenv("PATH"),
		"ROOT=" + filepath.Join(root, "data"),
		"ADDRESS=" + d.socket,
		"CONFIG=" + configFile,
		"LOG_LEVEL=debug",
	}
	d.command.Stderr = &d.log
	if err := d.command.Start(); err != nil {
		return nil, err
	}
	end := time.Now().Add(startTimeout)
	for ; time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if connection, err := net.Dial("unix", d.socket); err == nil {
			return d, connection.Close()
		}
	}
	d.command.Process.Kill()
	d.command.Wait()
	return nil, fmt.Errorf("no daemon at %s within %v; its log:\n%s", d.socket, startTimeout, &d.log)
}

// stop ends the daemon with SIGTERM, which it has to answer with exit status 0.
func (d *daemon) stop() error {
	if err := d.command.Process.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("the daemon ended before it was stopped: %w", err)
	}
	timer := time.AfterFunc(stopTimeout, func() { d.command.Process.Kill() })
	defer timer.Stop()
	if err := d.command.Wait(); err != nil {
		return fmt.Errorf("the daemon did not stop cleanly: %w", err)
	}
	return nil
}

// removeAll removes every snapshot, children before parents, and asks for a cleanup.
func removeAll(ctx context.Context, snapshotter snapshots.Snapshotter) error {
	parents := map[string]string{}
	children := map[string]int{}
	collect := func(_ context.Context, info snapshots.Info) error {
		parents[info.Name] = info.Parent
		children[info.Parent]++
		return nil
	}
	if err := snapshotter.Walk(ctx, collect); err != nil {
		return fmt.Errorf("list snapshots: %w", err)
	}
	for len(parents) > 0 {
		before := len(parents)
		for name, parent := range parents {
			if children[name] > 0 {
				continue
			}
			if err := snapshotter.Remove(ctx, name); err != nil {
				return fmt.Errorf("remove snapshot %q: %w", name, err)
			}
			children[parent]--
			delete(parents, name)
		}
		if len(parents) == before {
			return fmt.Errorf("snapshots with a parent that is not listed: %v", parents)
		}
	}
	return snapshotter.(snapshots.Cleaner).Cleanup(ctx)
}

// leftovers fails if anything below the root is still mounted or attached to a loop device.
func leftovers(root string) error {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	var problems []error
	for _, line := range strings.Split(string(mounts), "\n") {
		if strings.Contains(line, root) {
			problems = append(problems, errors.New("left mounted: "+line))
		}
	}
	loops, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
	if err != nil {
		return err
	}
	for _, name := range loops {
		// A device that was detached since is what we want.
		if file, err := os.ReadFile(name); err == nil && strings.HasPrefix(string(file), root) {
			problems = append(problems, fmt.Errorf("left attached: %s, %s", name, file))
		}
	}
	return join(problems...)
}

// finish removes all snapshots, stops the daemon and looks for what it left behind.
func (d *daemon) finish(
	ctx context.Context, t *testing.T, snapshotter snapshots.Snapshotter,
) error {
	err := join(removeAll(ctx, snapshotter), d.stop(), leftovers(d.root))
	if err != nil || t.Failed() {
		t.Logf("log of the daemon in %s:\n%s", d.root, &d.log)
	}
	return err
}

// join makes one error of several, some of which may be nil (join came with Go 1.20).
func join(problems ...error) error {
	var messages []string
	for _, problem := range problems {
		if problem != nil {
			messages = append(messages, problem.Error())
		}
	}
	if len(messages) == 0 {
		return nil
	}
	return errors.New(strings.Join(messages, "; "))
}

func dial(ctx context.Context, socket string) (*grpc.ClientConn, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	return grpc.DialContext(ctx, dialer.DialAddress(socket), grpc.WithBlock(),
		grpc.WithInsecure(),
		grpc.WithContextDialer(dialer.ContextDialer))
}

func TestSuite(t *testing.T) {
	if *binary == "" {
		t.Fatal("-binary is missing")
	}
	factory := func(ctx context.Context, root string) (snapshots.Snapshotter, func() error, error) {
		d, err := startDaemon(root)
		if err != nil {
			return nil, nil, err
		}
		connection, err := dial(ctx, d.socket)
		if err != nil {
			return nil, nil, join(err, d.stop())
		}
		snapshotter := proxy.NewSnapshotter(snapshotsapi.NewSnapshotsClient(connection), "dedup")
		return snapshotter, func() error {
			ctx := namespaces.WithNamespace(context.Background(), "testsuite")
			err := d.finish(ctx, t, snapshotter)
			return join(err, connection.Close())
		}, nil
	}
	testsuite.SnapshotterSuite(t, "dedup", factory)
}
