// A scheduler extender as one writes it in an afternoon: net/http, encoding/json, an immutable snapshot behind an
// atomic pointer. It stands beside ours in `make bench-extender`, with the same offers and the same job.
//
// In: a snapshot file. Out: /filter and /prioritize in name mode. It reads less of a pod than k8s.io/kube-scheduler's
// ExtenderArgs would, so it is faster than most extenders in use.
package main

import (
	"encoding/json"
	"log"
	"net"
	"net/http"
	"os"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync/atomic"
)

type offer struct {
	Node, Provider, Class, Region, Product string
	MemoryMebibytes                        uint64
	GpusTotal, GpusFree                    uint32
	PriceMicro                             uint64
	LatencyP95Micros                       uint64
	Reputation                             float64
	Available                              bool
}

type job struct {
	UID, Namespace  string
	Gpus            uint32
	Models          []string
	Regions         []string
	MemoryMebibytes uint64
	PriceMicro      uint64
	LatencyMicros   uint64
}

type file struct {
	Offers []offer
	Job    job
}

type snapshot struct {
	offers map[string]*offer
	jobs   map[string]*job
}

type args struct {
	Pod struct {
		Metadata struct {
			Namespace       string            `json:"namespace"`
			Labels          map[string]string `json:"labels"`
			OwnerReferences []struct {
				Kind       string `json:"kind"`
				UID        string `json:"uid"`
				Controller *bool  `json:"controller"`
			} `json:"ownerReferences"`
		} `json:"metadata"`
	}
	NodeNames *[]string
}

type filterResult struct {
	NodeNames   []string
	FailedNodes map[string]string
	Error       string `json:",omitempty"`
}

type hostPriority struct {
	Host  string
	Score int64
}

var current atomic.Pointer[snapshot]

func exclude(job *job, offer *offer) string {
	switch {
	case len(job.Regions) > 0 && !slices.Contains(job.Regions, offer.Region):
		return "outside the asked regions"
	case len(job.Models) > 0 && !slices.Contains(job.Models, offer.Product):
		return "of another GPU model"
	case len(job.Models) == 0 && strings.HasSuffix(offer.Product, "-SHARED"):
		return "with time-shared GPUs, which must be asked for by model"
	case offer.MemoryMebibytes < job.MemoryMebibytes:
		return "below " + strconv.FormatUint(job.MemoryMebibytes>>10, 10) + "Gi of GPU memory"
	case offer.GpusTotal < job.Gpus:
		return "with too few GPUs on the host"
	case offer.PriceMicro > job.PriceMicro:
		return "over the price cap"
	case offer.LatencyP95Micros > job.LatencyMicros:
		return "over the latency bound"
	case !offer.Available:
		return "not available now"
	case offer.GpusFree < job.Gpus:
		return "without enough free GPUs"
	}
	return ""
}

func score(offer *offer) float64 {
	price := 1e6 / (1e6 + float64(offer.PriceMicro))
	latency := 50_000 / (50_000 + float64(offer.LatencyP95Micros))
	return 0.4*price + 0.3*latency + 0.3*offer.Reputation
}

func decode(writer http.ResponseWriter, request *http.Request) (*args, *snapshot, *job) {
	var asked args
	body := http.MaxBytesReader(writer, request.Body, 4<<20)
	if err := json.NewDecoder(body).Decode(&asked); err != nil || asked.NodeNames == nil {
		http.Error(writer, "no ExtenderArgs", http.StatusBadRequest)
		return nil, nil, nil
	}
	known := current.Load()
	for _, owner := range asked.Pod.Metadata.OwnerReferences {
		if owner.Kind == "InferenceJob" && owner.Controller != nil && *owner.Controller {
			if job := known.jobs[owner.UID]; job != nil && job.Namespace == asked.Pod.Metadata.Namespace {
				return &asked, known, job
			}
		}
	}
	http.Error(writer, "no InferenceJob", http.StatusServiceUnavailable)
	return nil, nil, nil
}

func reply(writer http.ResponseWriter, value any) {
	body, err := json.Marshal(value)
	if err != nil {
		http.Error(writer, err.Error(), http.StatusInternalServerError)
		return
	}
	writer.Header().Set("Content-Type", "application/json")
	writer.Header().Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = writer.Write(body)
}

func filter(writer http.ResponseWriter, request *http.Request) {
	asked, known, job := decode(writer, request)
	if job == nil {
		return
	}
	result := filterResult{NodeNames: make([]string, 0, len(*asked.NodeNames)), FailedNodes: map[string]string{}}
	for _, name := range *asked.NodeNames {
		offer := known.offers[name]
		if offer == nil {
			result.FailedNodes[name] = "no provider offers this node"
		} else if reason := exclude(job, offer); reason != "" {
			result.FailedNodes[name] = reason
		} else {
			result.NodeNames = append(result.NodeNames, name)
		}
	}
	reply(writer, result)
}

func prioritize(writer http.ResponseWriter, request *http.Request) {
	asked, known, job := decode(writer, request)
	if job == nil {
		return
	}
	type ranked struct {
		place int
		score float64
		offer *offer
	}
	fitting := make([]ranked, 0, len(*asked.NodeNames))
	scores := make([]hostPriority, len(*asked.NodeNames))
	for place, name := range *asked.NodeNames {
		scores[place].Host = name
		if offer := known.offers[name]; offer != nil && exclude(job, offer) == "" {
			fitting = append(fitting, ranked{place, score(offer), offer})
		}
	}
	sort.Slice(fitting, func(left, right int) bool {
		one, other := fitting[left], fitting[right]
		if one.score != other.score {
			return one.score > other.score
		}
		if one.offer.PriceMicro != other.offer.PriceMicro {
			return one.offer.PriceMicro < other.offer.PriceMicro
		}
		return one.offer.Node < other.offer.Node
	})
	for place := range min(10, len(fitting)) {
		scores[fitting[place].place].Score = int64(10 - place)
	}
	reply(writer, scores)
}

func load(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var read file
	if err := json.Unmarshal(text, &read); err != nil {
		return err
	}
	known := snapshot{offers: make(map[string]*offer, len(read.Offers)), jobs: map[string]*job{read.Job.UID: &read.Job}}
	for place := range read.Offers {
		known.offers[read.Offers[place].Node] = &read.Offers[place]
	}
	current.Store(&known)
	return nil
}

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: extender-go SNAPSHOT.json ADDRESS")
	}
	if err := load(os.Args[1]); err != nil {
		log.Fatal(err)
	}
	listener, err := net.Listen("tcp", os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	http.HandleFunc("POST /filter", filter)
	http.HandleFunc("POST /prioritize", prioritize)
	log.Fatal(http.Serve(listener, nil))
}
