package main

// The parts of the control plane. Their own options and Run functions are used and not their commands: a process may set up its
// signals once only, and every command would.

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"

	"github.com/spf13/pflag"
	"go.etcd.io/etcd/server/v3/embed"
	cliflag "k8s.io/component-base/cli/flag"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	apiserveroptions "k8s.io/kubernetes/cmd/kube-apiserver/app/options"
	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	controlleroptions "k8s.io/kubernetes/cmd/kube-controller-manager/app/options"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	scheduleroptions "k8s.io/kubernetes/cmd/kube-scheduler/app/options"
	kwokconfig "sigs.k8s.io/kwok/pkg/config"
	kwokcmd "sigs.k8s.io/kwok/pkg/kwok/cmd"
)

// wantedControllers leaves out what needs a cloud, a kubelet or a metrics server.
const wantedControllers = "deployment-controller,replicaset-controller,statefulset-controller,daemonset-controller,job-controller," +
	"cronjob-controller,namespace-controller,garbage-collector-controller,serviceaccount-controller,serviceaccount-token-controller," +
	"root-ca-certificate-publisher-controller,endpoints-controller,endpointslice-controller,clusterrole-aggregation-controller," +
	"resourcequota-controller,disruption-controller,pod-garbage-collector-controller,validatingadmissionpolicy-status-controller"

func parse(sets cliflag.NamedFlagSets, args []string) {
	all := pflag.NewFlagSet("kubelab", pflag.ContinueOnError)
	for _, set := range sets.FlagSets {
		all.AddFlagSet(set)
	}
	must("flags", all.Parse(args))
}

// startEtcd serves on a unix socket, so that a cluster takes one port only.
func (c *cluster) startEtcd() *embed.Etcd {
	config := embed.NewConfig()
	config.Name, config.Dir, config.LogLevel = c.name, filepath.Join(c.dir, "etcd"), "error"
	// The lab survives the death of its process, not that of the machine: no fsync.
	config.UnsafeNoFsync = true
	client, peer := c.socket(""), c.socket(".peer")
	config.ListenClientUrls, config.AdvertiseClientUrls = []url.URL{client}, []url.URL{client}
	config.ListenPeerUrls, config.AdvertisePeerUrls = []url.URL{peer}, []url.URL{peer}
	config.InitialCluster = config.InitialClusterFromName(c.name)
	etcd, err := embed.StartEtcd(config)
	must("etcd", err)
	<-etcd.Server.ReadyNotify()
	c.say("etcd")
	return etcd
}

// socket names etcd's socket, and removes what a killed process left of it.
func (c *cluster) socket(suffix string) url.URL {
	path := filepath.Join(c.dir, "etcd.sock") + suffix
	_ = os.Remove(path)
	return url.URL{Scheme: "unix", Path: path}
}

// startAPIServer leaves priority and fairness on: without it clients throttle themselves, and figures would lie.
func (c *cluster) startAPIServer(ctx context.Context) {
	options := apiserveroptions.NewServerRunOptions()
	parse(options.Flags(), append([]string{
		"--bind-address=127.0.0.1", fmt.Sprintf("--secure-port=%d", c.port), "--advertise-address=127.0.0.1", "--endpoint-reconciler-type=none",
		"--etcd-servers=unix://" + filepath.Join(c.dir, "etcd.sock"), "--service-cluster-ip-range=10.96.0.0/16",
		"--authorization-mode=Node,RBAC", "--client-ca-file=" + c.pki("ca.crt"),
		"--tls-cert-file=" + c.pki("server.crt"), "--tls-private-key-file=" + c.pki("server.key"),
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=" + c.pki("sa.key"), "--service-account-signing-key-file=" + c.pki("sa.key"),
		"--profiling=false",
		// It taints new nodes, and only the node lifecycle controller, which is not run, takes the taint off.
		"--disable-admission-plugins=TaintNodesByCondition",
	}, c.apiserverArgs...))
	must("apiserver", options.GenericServerRunOptions.ComponentGlobalsRegistry.Set())
	completed, err := options.Complete(ctx)
	must("apiserver", err)
	must("apiserver", errors.Join(completed.Validate()...))
	go func() { c.failed <- apiserver.Run(ctx, completed) }()
}

func (c *cluster) startControllers(ctx context.Context) {
	options, err := controlleroptions.NewKubeControllerManagerOptions()
	must("controllers", err)
	known, disabled, aliases := controllers.KnownControllers(), controllers.ControllersDisabledByDefault(), controllers.ControllerAliases()
	parse(options.Flags(known, disabled, aliases), []string{
		"--kubeconfig=" + c.kubeconfig(), "--leader-elect=false", "--secure-port=0", "--profiling=false", "--controllers=" + c.controllers,
		"--service-account-private-key-file=" + c.pki("sa.key"), "--root-ca-file=" + c.pki("ca.crt"), "--kube-api-qps=200", "--kube-api-burst=400"})
	config, err := options.Config(ctx, known, disabled, aliases)
	must("controllers", err)
	go func() { c.failed <- controllers.Run(ctx, config.Complete()) }()
}

func (c *cluster) startScheduler(ctx context.Context) {
	options := scheduleroptions.NewOptions()
	parse(*options.Flags, []string{"--kubeconfig=" + c.kubeconfig(), "--leader-elect=false", "--secure-port=0", "--profiling=false",
		"--kube-api-qps=200", "--kube-api-burst=400"})
	go func() {
		config, sched, err := scheduler.Setup(ctx, options)
		if err == nil {
			err = scheduler.Run(ctx, config, sched)
		}
		c.failed <- err
	}()
}

func (c *cluster) startKwok(ctx context.Context) {
	stages := filepath.Join(c.dir, "kwok.yaml")
	must("kwok", os.WriteFile(stages, []byte(fates()), 0o600))
	go func() {
		// kwok's options read the process's own arguments, and cobra adds pflag.CommandLine to every root command, where component-base
		// has put a --version that is no bool: kwok refuses to start with either.
		os.Args = []string{"kwok", "--config=" + stages}
		pflag.CommandLine = pflag.NewFlagSet("kwok", pflag.ContinueOnError)
		global := pflag.NewFlagSet("global", pflag.ContinueOnError)
		global.ParseErrorsAllowlist.UnknownFlags = true
		global.Usage = func() {}
		ctx, err := kwokconfig.InitFlags(ctx, global)
		must("kwok", err)
		command := kwokcmd.NewCommand(ctx)
		command.PersistentFlags().AddFlagSet(global)
		// Its own server would listen on all addresses: it gets none. Pods of several clusters shall not share addresses.
		command.SetArgs([]string{"--config=" + stages, "--kubeconfig=" + c.kubeconfig(), "--manage-all-nodes=true",
			fmt.Sprintf("--cidr=10.%d.0.0/16", c.port%200+20), "--node-ip=127.0.0.1", "--node-port=0", "--server-address="})
		c.failed <- command.ExecuteContext(ctx)
	}()
}
