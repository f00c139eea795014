package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestWritesTheFeaturesFileAndTakesItAway(t *testing.T) {
	path := filepath.Join(t.TempDir(), "features.d", "gfd")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- discover(ctx, discoveryOptions{gpus: l4(2), output: path, interval: 5 * time.Millisecond})
	}()
	content := awaitFile(t, path)
	for _, line := range []string{"nvidia.com/gpu.product=NVIDIA-L4", "nvidia.com/gpu.memory=23034", "nvidia.com/gpu.count=2",
		"nvidia.com/gpu.compute.major=8", "nvidia.com/gpu.compute.minor=9", "nvidia.com/cuda.driver-version.full=570.86.15"} {
		if !strings.Contains(content, line+"\n") {
			t.Errorf("no line %q in\n%s", line, content)
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	awaitFile(t, path) // written again
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Fatalf("the file outlived the process: %v", err)
	}
}

func awaitFile(t *testing.T, path string) string {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if content, err := os.ReadFile(path); err == nil {
			return string(content)
		}
	}
	t.Fatalf("%s was not written", path)
	return ""
}

func TestModeIsChosenByNameOrArgument(t *testing.T) {
	for _, one := range []struct {
		arguments []string
		discovery bool
		rest      int
	}{
		{[]string{"/usr/local/bin/device-plugin", "--count=2"}, false, 1},
		{[]string{"/usr/local/bin/nvidia-device-plugin"}, false, 0},
		{[]string{"gpu-feature-discovery", "--count=2"}, true, 1},
		{[]string{"device-plugin", "feature-discovery", "--count=2"}, true, 1},
	} {
		if discovery, rest := mode(one.arguments); discovery != one.discovery || len(rest) != one.rest {
			t.Errorf("%v: discovery %v with %v", one.arguments, discovery, rest)
		}
	}
}

func TestWrongFlagsAreNamed(t *testing.T) {
	for _, one := range []string{"--count=65", "--count=-1", "--product=NVIDIA L4", "--memory-mib=0", "--compute=8", "--driver=570.86"} {
		name, _, _ := strings.Cut(one, "=")
		if _, err := pluginSettings([]string{one}); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s gave %v", one, err)
		}
	}
	if _, err := discoverySettings([]string{"--sleep-interval=0s"}); err == nil || !strings.Contains(err.Error(), "--sleep-interval") {
		t.Errorf("a zero interval gave %v", err)
	}
	if _, err := pluginSettings([]string{"stray"}); err == nil || !strings.Contains(err.Error(), "stray") {
		t.Errorf("a stray argument gave %v", err)
	}
}

func TestAHostOfItsOwnKindSaysSo(t *testing.T) {
	arguments := []string{"--count=2", "--host=gpu-2:count=1,product=NVIDIA-L40S,memory-mib=46068", "--host=gpu-3:count=4"}
	for node, wanted := range map[string]GPUs{
		"":      {Count: 2, Product: "NVIDIA-L4", MemoryMiB: 23034, Compute: "8.9", Driver: "570.86.15"},
		"gpu-1": {Count: 2, Product: "NVIDIA-L4", MemoryMiB: 23034, Compute: "8.9", Driver: "570.86.15"},
		"gpu-2": {Count: 1, Product: "NVIDIA-L40S", MemoryMiB: 46068, Compute: "8.9", Driver: "570.86.15"},
		"gpu-3": {Count: 4, Product: "NVIDIA-L4", MemoryMiB: 23034, Compute: "8.9", Driver: "570.86.15"},
	} {
		t.Setenv("NODE_NAME", node)
		plugin, err := pluginSettings(arguments)
		if err != nil || plugin.gpus != wanted {
			t.Errorf("plugin on %q: %+v, %v", node, plugin.gpus, err)
		}
		if discovery, err := discoverySettings(arguments); err != nil || discovery.gpus != wanted {
			t.Errorf("discovery on %q: %+v, %v", node, discovery.gpus, err)
		}
	}
	t.Setenv("NODE_NAME", "gpu-2")
	for _, wrong := range []string{"--host=gpu-2", "--host=:count=1", "--host=gpu-2:cards=1", "--host=gpu-2:count=many", "--host=gpu-2:count=65"} {
		if _, err := pluginSettings([]string{wrong}); err == nil {
			t.Errorf("%s was taken", wrong)
		}
	}
}
