package main

import (
	"crypto/sha256"
	"flag"
	"fmt"
	"io"
	"regexp"
	"strings"
)

// GPUs of one host, all alike.
type GPUs struct {
	Count     int
	Product   string
	MemoryMiB int
	Compute   string
	Driver    string
}

var (
	labelValue     = regexp.MustCompile(`^[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$`)
	computeVersion = regexp.MustCompile(`^[0-9]+\.[0-9]+$`)
	driverVersion  = regexp.MustCompile(`^[0-9]+\.[0-9]+\.[0-9]+$`)
)

func (gpus GPUs) check(unparsed []string) error {
	switch {
	case len(unparsed) > 0:
		return fmt.Errorf("unknown argument %q", unparsed[0])
	case gpus.Count < 0 || gpus.Count > 64:
		return fmt.Errorf("--count %d: give 0 to 64", gpus.Count)
	case !labelValue.MatchString(gpus.Product):
		return fmt.Errorf("--product %q: write it as a label value, such as NVIDIA-L4", gpus.Product)
	case gpus.MemoryMiB <= 0:
		return fmt.Errorf("--memory-mib %d: give MiB above 0", gpus.MemoryMiB)
	case !computeVersion.MatchString(gpus.Compute):
		return fmt.Errorf("--compute %q: write MAJOR.MINOR, such as 8.9", gpus.Compute)
	case !driverVersion.MatchString(gpus.Driver):
		return fmt.Errorf("--driver %q: write three numbers, such as 570.86.15", gpus.Driver)
	}
	return nil
}

// parseHost reads NODE:KEY=VALUE,… with the keys count, product, memory-mib, compute and driver: what differs on that
// node from the other flags.
func parseHost(text string) (node string, change func(*GPUs) error, err error) {
	node, list, found := strings.Cut(text, ":")
	if !found || node == "" {
		return "", nil, fmt.Errorf("%q: write NODE:KEY=VALUE,…, such as gpu-2:count=1,product=NVIDIA-L40S", text)
	}
	return node, func(gpus *GPUs) error {
		flags := flag.NewFlagSet(node, flag.ContinueOnError)
		flags.SetOutput(io.Discard)
		gpuFlags(flags, gpus, *gpus)
		for _, pair := range strings.Split(list, ",") {
			key, value, _ := strings.Cut(pair, "=")
			if err := flags.Set(key, value); err != nil {
				return fmt.Errorf("--host %s: %q: %w", node, pair, err)
			}
		}
		return nil
	}, nil
}

// IDs are stable over restarts, as a GPU's UUID is, and look like one.
func (gpus GPUs) IDs() []string {
	ids := make([]string, gpus.Count)
	for index := range ids {
		sum := sha256.Sum256(fmt.Appendf(nil, "%s/%d", gpus.Product, index))
		ids[index] = fmt.Sprintf("GPU-%x-%x-%x-%x-%x", sum[0:4], sum[4:6], sum[6:8], sum[8:10], sum[10:16])
	}
	return ids
}

// Features are the lines of the features file, in the order in which they are written.
func (gpus GPUs) Features() []string {
	driver := strings.Split(gpus.Driver, ".")
	compute := strings.Split(gpus.Compute, ".")
	lines := []string{
		"cuda.driver-version.full=" + gpus.Driver,
		"cuda.driver-version.major=" + driver[0],
		"cuda.driver-version.minor=" + driver[1],
		"cuda.driver-version.revision=" + driver[2],
		"gpu.compute.major=" + compute[0],
		"gpu.compute.minor=" + compute[1],
		fmt.Sprintf("gpu.count=%d", gpus.Count),
		fmt.Sprintf("gpu.memory=%d", gpus.MemoryMiB),
		"gpu.product=" + gpus.Product,
		"gpu.replicas=1",
		"gpu.sharing-strategy=none",
		"mig.capable=false",
		"mig.strategy=none",
		"mps.capable=false",
	}
	for index, line := range lines {
		lines[index] = "nvidia.com/" + line
	}
	return lines
}
