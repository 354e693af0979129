// What Kubernetes itself has against pods under Pod Security "restricted", with the library of its admission.
//
// usage: restricted 1.29 1.37 ... <PODS, where PODS is a JSON array of pods or pod templates. It prints a JSON object: for
// each version a list, and in it for each pod the list of what forbids it.
package main

import (
	"encoding/json"
	"fmt"
	"os"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "restricted:", err)
		os.Exit(1)
	}
}

func run(versions []string) error {
	// A pod template is a pod without a status.
	var pods []corev1.PodTemplateSpec
	decoder := json.NewDecoder(os.Stdin)
	if err := decoder.Decode(&pods); err != nil {
		return err
	}
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		return err
	}
	found := map[string][][]string{}
	for _, name := range versions {
		version, err := api.ParseVersion("v" + name)
		if err != nil {
			return err
		}
		found[name] = [][]string{}
		level := api.LevelVersion{Level: api.LevelRestricted, Version: version}
		for _, pod := range pods {
			reasons := []string{}
			for _, result := range evaluator.EvaluatePod(level, &pod.ObjectMeta, &pod.Spec) {
				if !result.Allowed {
					reasons = append(reasons, result.ForbiddenReason+": "+result.ForbiddenDetail)
				}
			}
			found[name] = append(found[name], reasons)
		}
	}
	return json.NewEncoder(os.Stdout).Encode(found)
}
