package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// discover writes the features file now and at every interval, and takes it away at the end, as NVIDIA's does.
func discover(ctx context.Context, options discoveryOptions) error {
	ticks := time.NewTicker(options.interval)
	defer ticks.Stop()
	for {
		if err := writeFeatures(options.output, options.gpus.Features()); err != nil {
			return err
		}
		if options.once {
			return nil
		}
		select {
		case <-ctx.Done():
			if err := os.Remove(options.output); err != nil && !os.IsNotExist(err) {
				return fmt.Errorf("remove %s: %w", options.output, err)
			}
			return nil
		case <-ticks.C:
		}
	}
}

// writeFeatures replaces the file in one step: a reader never sees half of it.
func writeFeatures(path string, lines []string) error {
	content := strings.Join(lines, "\n") + "\n"
	if old, err := os.ReadFile(path); err == nil && string(old) == content {
		return nil
	}
	scratch := filepath.Join(filepath.Dir(path), "gfd-tmp")
	if err := os.MkdirAll(scratch, 0o755); err != nil {
		return fmt.Errorf("features file: %w", err)
	}
	fresh := filepath.Join(scratch, filepath.Base(path))
	if err := os.WriteFile(fresh, []byte(content), 0o644); err != nil {
		return fmt.Errorf("features file: %w", err)
	}
	if err := os.Rename(fresh, path); err != nil {
		return fmt.Errorf("features file: %w", err)
	}
	log.Printf("wrote %d features to %s", len(lines), path)
	return nil
}
