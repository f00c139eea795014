package main

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	api "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"
)

// fakeKubelet answers Register over a real socket, as the kubelet does.
type fakeKubelet struct {
	api.UnimplementedRegistrationServer
	registered chan *api.RegisterRequest
}

func (k *fakeKubelet) Register(_ context.Context, request *api.RegisterRequest) (*api.Empty, error) {
	k.registered <- request
	return &api.Empty{}, nil
}

func startKubelet(t *testing.T, folder string) (*fakeKubelet, *grpc.Server) {
	t.Helper()
	listener, err := net.Listen("unix", filepath.Join(folder, kubeletSocket))
	if err != nil {
		t.Fatal(err)
	}
	kubelet := &fakeKubelet{registered: make(chan *api.RegisterRequest, 8)}
	server := grpc.NewServer()
	api.RegisterRegistrationServer(server, kubelet)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	return kubelet, server
}

func awaitRegistration(t *testing.T, kubelet *fakeKubelet) *api.RegisterRequest {
	t.Helper()
	select {
	case request := <-kubelet.registered:
		return request
	case <-time.After(10 * time.Second):
		t.Fatal("the plugin did not register")
		return nil
	}
}

func startPlugin(t *testing.T, options pluginOptions) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- servePlugin(ctx, options) }()
	t.Cleanup(func() {
		cancel()
		<-done
	})
}

func dial(t *testing.T, folder string) api.DevicePluginClient {
	t.Helper()
	connection, err := grpc.NewClient("unix://"+filepath.Join(folder, pluginSocket), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { connection.Close() })
	return api.NewDevicePluginClient(connection)
}

func l4(count int) GPUs {
	return GPUs{Count: count, Product: "NVIDIA-L4", MemoryMiB: 23034, Compute: "8.9", Driver: "570.86.15"}
}

func TestRegistersAndRegistersAgainAfterTheKubelet(t *testing.T) {
	folder := t.TempDir()
	first, server := startKubelet(t, folder)
	startPlugin(t, pluginOptions{gpus: l4(2), folder: folder})
	request := awaitRegistration(t, first)
	if request.ResourceName != "nvidia.com/gpu" || request.Version != "v1beta1" || request.Endpoint != pluginSocket {
		t.Fatalf("registered as %v", request)
	}
	server.Stop() // removes its socket
	if err := os.Remove(filepath.Join(folder, pluginSocket)); err != nil {
		t.Fatal(err) // a kubelet that starts removes the plugins' sockets
	}
	second, _ := startKubelet(t, folder)
	awaitRegistration(t, second)
	if _, err := dial(t, folder).GetDevicePluginOptions(t.Context(), &api.Empty{}); err != nil {
		t.Fatalf("the socket is not served any more: %v", err)
	}
}

func TestRegistersWithAKubeletThatComesLater(t *testing.T) {
	folder := t.TempDir()
	startPlugin(t, pluginOptions{gpus: l4(1), folder: folder})
	kubelet, _ := startKubelet(t, folder)
	awaitRegistration(t, kubelet)
}

func TestListsDevicesAndTheirHealth(t *testing.T) {
	folder := t.TempDir()
	kubelet, _ := startKubelet(t, folder)
	broken := filepath.Join(folder, "broken")
	gpus := l4(2)
	startPlugin(t, pluginOptions{gpus: gpus, folder: folder, unhealthyFile: broken})
	awaitRegistration(t, kubelet)
	stream, err := dial(t, folder).ListAndWatch(t.Context(), &api.Empty{})
	if err != nil {
		t.Fatal(err)
	}
	expectHealth(t, stream, api.Healthy, api.Healthy)
	if err := os.WriteFile(broken, []byte(gpus.IDs()[1]+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	expectHealth(t, stream, api.Healthy, api.Unhealthy)
	if err := os.Remove(broken); err != nil {
		t.Fatal(err)
	}
	expectHealth(t, stream, api.Healthy, api.Healthy)
}

func expectHealth(t *testing.T, stream grpc.ServerStreamingClient[api.ListAndWatchResponse], wanted ...string) {
	t.Helper()
	response, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, device := range response.Devices {
		found = append(found, device.Health)
	}
	if !slices.Equal(found, wanted) {
		t.Fatalf("health %v, wanted %v", found, wanted)
	}
}

func TestAllocatesWhatItHasAndNothingElse(t *testing.T) {
	p := &plugin{ids: l4(3).IDs()}
	two := &api.AllocateRequest{ContainerRequests: []*api.ContainerAllocateRequest{{DevicesIds: p.ids[:2]}, {DevicesIds: p.ids[2:]}}}
	response, err := p.Allocate(t.Context(), two)
	if err != nil {
		t.Fatal(err)
	}
	first := response.ContainerResponses[0].Envs["NVIDIA_VISIBLE_DEVICES"]
	if len(response.ContainerResponses) != 2 || first != p.ids[0]+","+p.ids[1] {
		t.Fatalf("allocated %v", response)
	}
	unknown := &api.AllocateRequest{ContainerRequests: []*api.ContainerAllocateRequest{{DevicesIds: []string{"GPU-other"}}}}
	if _, err := p.Allocate(t.Context(), unknown); err == nil || !strings.Contains(err.Error(), "GPU-other") {
		t.Fatalf("an unknown device gave %v", err)
	}
}

func TestIDsAreDistinctAndStable(t *testing.T) {
	ids := l4(64).IDs()
	unique := slices.Compact(slices.Sorted(slices.Values(ids)))
	if len(unique) != 64 || !slices.Equal(ids, l4(64).IDs()) || !slices.Equal(ids[:3], l4(3).IDs()) {
		t.Fatal("IDs must be distinct, and the same at every start")
	}
}
