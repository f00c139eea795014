// A simulator of NVIDIA's device plugin and GPU feature discovery for hosts without a GPU.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

const (
	discoveryName    = "gpu-feature-discovery"
	discoveryCommand = "feature-discovery"
)

func main() {
	log.SetFlags(log.LstdFlags | log.LUTC)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args); err != nil && !errors.Is(err, context.Canceled) {
		log.Fatal(err)
	}
}

func run(ctx context.Context, arguments []string) error {
	discovery, rest := mode(arguments)
	if discovery {
		settings, err := discoverySettings(rest)
		if err != nil {
			return err
		}
		return discover(ctx, settings)
	}
	settings, err := pluginSettings(rest)
	if err != nil {
		return err
	}
	return servePlugin(ctx, settings)
}

// mode says whether this process is feature discovery, by its name or its first argument, and what flags are left.
func mode(arguments []string) (bool, []string) {
	rest := arguments[1:]
	if len(rest) > 0 && rest[0] == discoveryCommand {
		return true, rest[1:]
	}
	return filepath.Base(arguments[0]) == discoveryName, rest
}

type pluginOptions struct {
	gpus          GPUs
	folder        string
	unhealthyFile string
}

type discoveryOptions struct {
	gpus     GPUs
	output   string
	interval time.Duration
	once     bool
}

var usual = GPUs{Count: 1, Product: "NVIDIA-L4", MemoryMiB: 23034, Compute: "8.9", Driver: "570.86.15"}

func gpuFlags(flags *flag.FlagSet, gpus *GPUs, defaults GPUs) {
	flags.IntVar(&gpus.Count, "count", defaults.Count, "GPUs of this host, at most 64")
	flags.StringVar(&gpus.Product, "product", defaults.Product, "product as in the label nvidia.com/gpu.product")
	flags.IntVar(&gpus.MemoryMiB, "memory-mib", defaults.MemoryMiB, "memory of one GPU in MiB")
	flags.StringVar(&gpus.Compute, "compute", defaults.Compute, "compute capability, MAJOR.MINOR")
	flags.StringVar(&gpus.Driver, "driver", defaults.Driver, "driver version, MAJOR.MINOR.REVISION")
}

// parse reads the flags; what --host says of the node named by NODE_NAME goes over the others.
func parse(flags *flag.FlagSet, gpus *GPUs, arguments []string) error {
	hosts := map[string]func(*GPUs) error{}
	gpuFlags(flags, gpus, usual)
	flags.Func("host", "NODE:KEY=VALUE,…: what differs on this node; may be repeated", func(text string) error {
		node, change, err := parseHost(text)
		hosts[node] = change
		return err
	})
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	if change := hosts[os.Getenv("NODE_NAME")]; change != nil {
		if err := change(gpus); err != nil {
			return err
		}
	}
	return gpus.check(flags.Args())
}

func pluginSettings(arguments []string) (pluginOptions, error) {
	var options pluginOptions
	flags := flag.NewFlagSet("nvidia-device-plugin", flag.ContinueOnError)
	flags.StringVar(&options.folder, "device-plugin-path", "/var/lib/kubelet/device-plugins", "folder of kubelet.sock")
	flags.StringVar(&options.unhealthyFile, "unhealthy-file", "", "file with the IDs of GPUs that are broken, one a line")
	return options, parse(flags, &options.gpus, arguments)
}

func discoverySettings(arguments []string) (discoveryOptions, error) {
	var options discoveryOptions
	flags := flag.NewFlagSet(discoveryName, flag.ContinueOnError)
	flags.StringVar(&options.output, "output-file", "/etc/kubernetes/node-feature-discovery/features.d/gfd", "features file")
	flags.DurationVar(&options.interval, "sleep-interval", 60*time.Second, "time between two writes")
	flags.BoolVar(&options.once, "oneshot", false, "write once and end")
	if err := parse(flags, &options.gpus, arguments); err != nil {
		return options, err
	}
	if options.interval <= 0 {
		return options, fmt.Errorf("--sleep-interval %s: give a time above 0, such as 60s", options.interval)
	}
	return options, nil
}
