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

func gpuFlags(flags *flag.FlagSet, gpus *GPUs) {
	flags.IntVar(&gpus.Count, "count", 1, "GPUs of this host, at most 64")
	flags.StringVar(&gpus.Product, "product", "NVIDIA-L4", "product as in the label nvidia.com/gpu.product")
	flags.IntVar(&gpus.MemoryMiB, "memory-mib", 23034, "memory of one GPU in MiB")
	flags.StringVar(&gpus.Compute, "compute", "8.9", "compute capability, MAJOR.MINOR")
	flags.StringVar(&gpus.Driver, "driver", "570.86.15", "driver version, MAJOR.MINOR.REVISION")
}

func pluginSettings(arguments []string) (pluginOptions, error) {
	var options pluginOptions
	flags := flag.NewFlagSet("nvidia-device-plugin", flag.ContinueOnError)
	gpuFlags(flags, &options.gpus)
	flags.StringVar(&options.folder, "device-plugin-path", "/var/lib/kubelet/device-plugins", "folder of kubelet.sock")
	flags.StringVar(&options.unhealthyFile, "unhealthy-file", "", "file with the IDs of GPUs that are broken, one a line")
	if err := flags.Parse(arguments); err != nil {
		return options, err
	}
	return options, options.gpus.check(flags.Args())
}

func discoverySettings(arguments []string) (discoveryOptions, error) {
	var options discoveryOptions
	flags := flag.NewFlagSet(discoveryName, flag.ContinueOnError)
	gpuFlags(flags, &options.gpus)
	flags.StringVar(&options.output, "output-file", "/etc/kubernetes/node-feature-discovery/features.d/gfd", "features file")
	flags.DurationVar(&options.interval, "sleep-interval", 60*time.Second, "time between two writes")
	flags.BoolVar(&options.once, "oneshot", false, "write once and end")
	if err := flags.Parse(arguments); err != nil {
		return options, err
	}
	if options.interval <= 0 {
		return options, fmt.Errorf("--sleep-interval %s: give a time above 0, such as 60s", options.interval)
	}
	return options, options.gpus.check(flags.Args())
}
