package main

import (
	"fmt"
	"strings"

	nodefast "sigs.k8s.io/kwok/kustomize/stage/node/fast"
	podfast "sigs.k8s.io/kwok/kustomize/stage/pod/fast"
)

// fateLabel is how a test says what shall become of a pod. Without it, a pod is Ready at once, and a Job's completes.
//
//	slow   Ready after three seconds
//	crash  Running, never Ready, in CrashLoopBackOff
//	pull   Pending, its image can't be pulled
//	fail   ends with exit code 1
//	hang   bound to a node, and Pending for ever: no stage takes it
const fateLabel = "kubelab/fate"

// fates are kwok's stages: its own for nodes and healthy pods, and one for each fate.
func fates() string {
	return strings.Join([]string{
		nodefast.DefaultNodeInit, podfast.DefaultPodComplete, podfast.DefaultPodDelete,
		readyWhen(`operator: 'DoesNotExist'`), slow(),
		fate("crash", "Running", `waiting: {reason: CrashLoopBackOff, message: "back-off 5m0s restarting failed container"}`),
		fate("pull", "Pending", `waiting: {reason: ImagePullBackOff, message: "Back-off pulling image"}`),
		fate("fail", "Failed", `terminated: {exitCode: 1, reason: Error}`),
	}, "\n---\n")
}

// readyWhen is kwok's own stage for a healthy pod, for those pods whose fate meets the condition.
func readyWhen(condition string) string {
	const expressions = "matchExpressions:\n"
	return strings.Replace(podfast.DefaultPodReady, expressions,
		expressions+"    - key: '.metadata.labels[\""+fateLabel+"\"]'\n      "+condition+"\n", 1)
}

func slow() string {
	stage := readyWhen("operator: 'In'\n      values: [slow]")
	stage = strings.Replace(stage, "name: pod-ready", "name: pod-slow", 1)
	return strings.Replace(stage, "  next:\n", "  delay: {durationMilliseconds: 3000}\n  next:\n", 1)
}

// fate is a stage that leads a pending pod to a state that is not healthy. It is taken once: it waits for a pod without container statuses.
func fate(name, phase, state string) string {
	return fmt.Sprintf(`apiVersion: kwok.x-k8s.io/v1alpha1
kind: Stage
metadata:
  name: pod-%[1]s
spec:
  resourceRef: {apiGroup: v1, kind: Pod}
  selector:
    matchLabels: {%[4]s: %[1]s}
    matchExpressions:
    - {key: '.metadata.deletionTimestamp', operator: 'DoesNotExist'}
    - {key: '.status.phase', operator: 'In', values: ['Pending']}
    - {key: '.status.containerStatuses', operator: 'DoesNotExist'}
  next:
    statusTemplate: |
      {{ $now := Now }}
      conditions:
      - lastTransitionTime: {{ $now | Quote }}
        status: "False"
        type: Ready
        reason: ContainersNotReady
      containerStatuses:
      {{ range .spec.containers }}
      - image: {{ .image | Quote }}
        name: {{ .name | Quote }}
        ready: false
        restartCount: 5
        state:
          %[3]s
      {{ end }}
      phase: %[2]s
      startTime: {{ $now | Quote }}
`, name, phase, state, fateLabel)
}
