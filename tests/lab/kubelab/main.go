// Command kubelab is one Kubernetes cluster in one process: etcd, kube-apiserver, kube-controller-manager and kube-scheduler as
// they are, and kwok in place of the kubelets. Nothing is faked but the nodes and what runs on them.
//
//	kubelab --name N --dir D --port P [--node PROVIDERID ...] [--apiserver-arg=--flag=value ...] [--controllers LIST] [--leash]
//
// It prints a line for each part that is up, and at last "ready N kubeconfig D/kubeconfig". Everything that it knows lies in D: the
// same command on the same directory brings the same cluster back, with its objects and certificates, also after a kill -9.
//
// With --leash it ends when its standard input closes, and removes D: a cluster never outlives the process that asked for it. A line
// "stop" on standard input asks it to end in order, as SIGTERM does.
package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	logsapi "k8s.io/component-base/logs/api/v1"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
)

// readyLimit is how long any one part may take; a loaded machine with two cores needs some twelve seconds for all.
const readyLimit = 2 * time.Minute

// list is a flag that may be given several times.
type list []string

func (l *list) String() string     { return strings.Join(*l, ",") }
func (l *list) Set(v string) error { *l = append(*l, v); return nil }

// cluster is what all parts know of each other.
type cluster struct {
	name, dir     string
	port          int
	providers     list
	apiserverArgs list
	controllers   string
	start         time.Time
	// failed takes the error, or the unexpected end, of any part.
	failed chan error
}

func (c *cluster) pki(name string) string { return filepath.Join(c.dir, "pki", name) }
func (c *cluster) kubeconfig() string     { return filepath.Join(c.dir, "kubeconfig") }
func (c *cluster) server() string         { return fmt.Sprintf("https://127.0.0.1:%d", c.port) }
func (c *cluster) say(what string) {
	fmt.Printf("%s %d ms\n", what, time.Since(c.start).Milliseconds())
}

func must(what string, err error) {
	if err != nil {
		fmt.Fprintf(os.Stderr, "kubelab: %s: %v\n", what, err)
		os.Exit(1)
	}
}

func main() {
	c, leash := fromFlags()
	must("directory", os.MkdirAll(filepath.Join(c.dir, "pki"), 0o700))
	// The parts share one process, and each would set logging up for itself.
	logsapi.ReapplyHandling = logsapi.ReapplyHandlingIgnoreUnchanged
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if leash {
		go obeyStdin(stop, c.dir)
	}

	c.writeIdentities()
	etcd := c.startEtcd()
	c.startAPIServer(ctx)
	api := c.newAPI()
	c.wait(ctx, "apiserver", func() bool { return api.status("/readyz") == 200 })
	c.startControllers(ctx)
	c.startScheduler(ctx)
	c.startKwok(ctx)
	for i, id := range c.providers {
		c.makeNode(ctx, api, fmt.Sprintf("%s-node-%d", c.name, i+1), id)
	}
	c.wait(ctx, "serviceaccounts", func() bool { return api.status("/api/v1/namespaces/default/serviceaccounts/default") == 200 })
	fmt.Printf("ready %s kubeconfig %s\n", c.name, c.kubeconfig())

	select {
	case <-ctx.Done():
	case err := <-c.failed:
		must("stopped", err)
	}
	// An API server whose etcd is gone hangs for nine seconds: etcd is stopped last.
	for i := 0; i < 100 && api.status("/readyz") != 0; i++ {
		time.Sleep(50 * time.Millisecond)
	}
	etcd.Close()
	os.Exit(0)
}

func fromFlags() (*cluster, bool) {
	c := &cluster{start: time.Now(), failed: make(chan error, 8)}
	flag.StringVar(&c.name, "name", "lab", "name of the cluster")
	dir := flag.String("dir", "", "directory of its state, made if missing")
	flag.IntVar(&c.port, "port", 0, "HTTPS port of the API server on 127.0.0.1")
	flag.Var(&c.providers, "node", "providerID of a node (repeatable)")
	flag.Var(&c.apiserverArgs, "apiserver-arg", "another flag of kube-apiserver (repeatable)")
	flag.StringVar(&c.controllers, "controllers", wantedControllers, "controllers to run, by their names, with commas between")
	leash := flag.Bool("leash", false, "end, and remove the directory, when standard input closes")
	flag.Parse()
	if *dir == "" || c.port == 0 {
		must("flags", fmt.Errorf("--dir and --port are needed"))
	}
	var err error
	c.dir, err = filepath.Abs(*dir)
	must("directory", err)
	return c, *leash
}

// obeyStdin stops the cluster when told to. When the owner's end of the pipe closes, nobody will ask for the directory again, so nothing
// needs to be stopped with care.
func obeyStdin(stop func(), dir string) {
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		if lines.Text() == "stop" {
			stop()
		}
	}
	_ = os.RemoveAll(dir)
	os.Exit(0)
}

// wait polls until ok, and ends the process with a reason when a part has failed or the limit has passed.
func (c *cluster) wait(ctx context.Context, what string, ok func() bool) {
	for end := time.Now().Add(readyLimit); !ok(); time.Sleep(20 * time.Millisecond) {
		select {
		case err := <-c.failed:
			must("stopped before it was ready", fmt.Errorf("%v", err))
		case <-ctx.Done():
			os.Exit(0)
		default:
		}
		if time.Now().After(end) {
			must(what, fmt.Errorf("not ready after %s", readyLimit))
		}
	}
	c.say(what)
}
