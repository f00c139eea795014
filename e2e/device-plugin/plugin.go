package main

import (
	"context"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	api "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"
)

const (
	resourceName  = "nvidia.com/gpu"
	visibleEnv    = "NVIDIA_VISIBLE_DEVICES"
	healthPeriod  = time.Second
	pluginSocket  = "nvidia-gpu.sock"
	kubeletSocket = "kubelet.sock"
)

// plugin answers the kubelet; it holds no state but its IDs.
type plugin struct {
	api.UnimplementedDevicePluginServer
	ids           []string
	unhealthyFile string
}

func (p *plugin) GetDevicePluginOptions(context.Context, *api.Empty) (*api.DevicePluginOptions, error) {
	return &api.DevicePluginOptions{}, nil
}

// ListAndWatch sends the whole list, and again whenever the health of a GPU changes.
func (p *plugin) ListAndWatch(_ *api.Empty, stream grpc.ServerStreamingServer[api.ListAndWatchResponse]) error {
	ticks := time.NewTicker(healthPeriod)
	defer ticks.Stop()
	sent := ""
	for {
		broken := p.broken()
		if key := strings.Join(broken, " "); sent != "devices "+key {
			if err := stream.Send(&api.ListAndWatchResponse{Devices: devices(p.ids, broken)}); err != nil {
				return err
			}
			sent = "devices " + key
		}
		select {
		case <-stream.Context().Done():
			return nil
		case <-ticks.C:
		}
	}
}

// Allocate gives what the NVIDIA container runtime reads; an unknown ID is an error, as it is there.
func (p *plugin) Allocate(_ context.Context, request *api.AllocateRequest) (*api.AllocateResponse, error) {
	known := make(map[string]bool, len(p.ids))
	for _, id := range p.ids {
		known[id] = true
	}
	response := &api.AllocateResponse{}
	for _, container := range request.GetContainerRequests() {
		for _, id := range container.GetDevicesIds() {
			if !known[id] {
				return nil, status.Errorf(codes.InvalidArgument, "invalid allocation request for %q: unknown device: %s", resourceName, id)
			}
		}
		visible := strings.Join(container.GetDevicesIds(), ",")
		response.ContainerResponses = append(response.ContainerResponses,
			&api.ContainerAllocateResponse{Envs: map[string]string{visibleEnv: visible}})
	}
	return response, nil
}

// broken reads the IDs that a test declared broken; no file means none.
func (p *plugin) broken() []string {
	if p.unhealthyFile == "" {
		return nil
	}
	content, err := os.ReadFile(p.unhealthyFile)
	if err != nil {
		return nil
	}
	return strings.Fields(string(content))
}

func devices(ids, broken []string) []*api.Device {
	unhealthy := make(map[string]bool, len(broken))
	for _, id := range broken {
		unhealthy[id] = true
	}
	list := make([]*api.Device, 0, len(ids))
	for _, id := range ids {
		health := api.Healthy
		if unhealthy[id] {
			health = api.Unhealthy
		}
		list = append(list, &api.Device{ID: id, Health: health})
	}
	return list
}
