{{- define "spillway.schedulerConfiguration" -}}
apiVersion: kubescheduler.config.k8s.io/v1
kind: KubeSchedulerConfiguration
leaderElection:
  leaderElect: true
  resourceName: spillway-scheduler
  resourceNamespace: {{ .Release.Namespace }}
clientConnection:
  qps: 1000
  burst: 2000
percentageOfNodesToScore: 100
profiles:
  - schedulerName: spillway-scheduler
    plugins:
      score:
        disabled:
          - name: "*"
      postFilter:
        disabled:
          - name: "*"
extenders:
  - urlPrefix: http://127.0.0.1:8888
    filterVerb: filter
    prioritizeVerb: prioritize
    weight: 1
    enableHTTPS: false
    httpTimeout: 2s
    nodeCacheCapable: true
    managedResources:
      - name: nvidia.com/gpu
        ignoredByScheduler: false
    ignorable: false
{{- end }}
