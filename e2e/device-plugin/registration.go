package main

import (
	"context"
	"fmt"
	"log"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	api "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"
)

const (
	registerTimeout = 5 * time.Second
	registerRetry   = time.Second
)

// servePlugin serves and registers, and starts anew whenever the kubelet makes its socket anew: a kubelet that
// starts forgets every plugin and removes their sockets.
func servePlugin(ctx context.Context, options pluginOptions) error {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watch: %w", err)
	}
	defer watcher.Close()
	if err := watcher.Add(options.folder); err != nil {
		return fmt.Errorf("watch %s: %w", options.folder, err)
	}
	for {
		server, err := serve(options)
		if err != nil {
			return err
		}
		err = untilKubeletRestarts(ctx, options.folder, watcher)
		server.Stop()
		if err != nil {
			return err
		}
		log.Printf("%s was made anew: registering again", kubeletSocket)
	}
}

func serve(options pluginOptions) (*grpc.Server, error) {
	path := filepath.Join(options.folder, pluginSocket)
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		return nil, fmt.Errorf("remove the old socket: %w", err)
	}
	listener, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	server := grpc.NewServer()
	api.RegisterDevicePluginServer(server, &plugin{ids: options.gpus.IDs(), unhealthyFile: options.unhealthyFile})
	go func() {
		if err := server.Serve(listener); err != nil {
			log.Printf("serve: %v", err)
		}
	}()
	return server, nil
}

// untilKubeletRestarts registers, trying until it succeeds, and returns nil once the kubelet's socket is new.
func untilKubeletRestarts(ctx context.Context, folder string, watcher *fsnotify.Watcher) error {
	kubelet := filepath.Join(folder, kubeletSocket)
	retry := time.NewTimer(0)
	defer retry.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case event := <-watcher.Events:
			if event.Name == kubelet && event.Has(fsnotify.Create) {
				return nil
			}
		case err := <-watcher.Errors:
			return fmt.Errorf("watch %s: %w", folder, err)
		case <-retry.C:
			if err := register(ctx, kubelet); err != nil {
				log.Printf("not registered yet: %v", err)
				retry.Reset(registerRetry)
				continue
			}
			log.Printf("registered %s", resourceName)
		}
	}
}

func register(ctx context.Context, kubelet string) error {
	ctx, cancel := context.WithTimeout(ctx, registerTimeout)
	defer cancel()
	connection, err := grpc.NewClient("unix://"+kubelet, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return fmt.Errorf("kubelet: %w", err)
	}
	defer connection.Close()
	_, err = api.NewRegistrationClient(connection).Register(ctx, &api.RegisterRequest{
		Version: api.Version, Endpoint: pluginSocket, ResourceName: resourceName, Options: &api.DevicePluginOptions{},
	})
	return err
}
