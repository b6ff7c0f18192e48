package intercept

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/util/exec"
)

// The network plug-in's agent, which has all rights on its node's network.
const (
	agentSelector  = "k8s-app=istio-cni-node"
	agentContainer = "install-cni"
	agentProgram   = "install-cni"
)

// byAgent asks the agent on the pod's node. It reads the pod itself and knows what it asks
// for as the plug-in does.
func (c *cluster) byAgent(ctx context.Context, in inspection, q question) (answer, error) {
	agent, err := c.agent(ctx, in.pod.Spec.NodeName)
	if err != nil {
		return answer{}, err
	}
	command := append([]string{agentProgram, q.verb, in.pod.Namespace + "/" + in.pod.Name}, q.args...)
	text, code, err := c.execute(ctx, agent, command)
	if err != nil {
		return answer{}, err
	}
	return answer{text, code, "the network plug-in's agent " + agent.Namespace + "/" + agent.Name}, nil
}

// agent finds the agent of a node.
func (c *cluster) agent(ctx context.Context, node string) (*corev1.Pod, error) {
	list, err := c.client.CoreV1().Pods(c.target.IstioNamespace).List(ctx, metav1.ListOptions{
		LabelSelector: agentSelector, FieldSelector: "spec.nodeName=" + node + ",status.phase=Running",
	})
	switch {
	case apierrors.IsForbidden(err):
		return nil, fmt.Errorf("you lack the right to list pods in namespace %s, where its agent is: %w", c.target.IstioNamespace, err)
	case err != nil:
		return nil, fmt.Errorf("look for its agent: %w", err)
	case len(list.Items) == 0:
		return nil, fmt.Errorf("namespace %s has no running pod %s on node %s: install the component cni, or allow the pod's namespace an ephemeral container for a while "+
			"(label pod-security.kubernetes.io/enforce=privileged)", c.target.IstioNamespace, agentSelector, node)
	}
	return &list.Items[0], nil
}

// execute runs a command in the agent's container.
func (c *cluster) execute(ctx context.Context, agent *corev1.Pod, command []string) (out string, code int, err error) {
	request := c.client.CoreV1().RESTClient().Post().Resource("pods").Namespace(agent.Namespace).Name(agent.Name).SubResource("exec").
		VersionedParams(&corev1.PodExecOptions{Container: agentContainer, Command: command, Stdout: true, Stderr: true}, scheme.ParameterCodec)
	executor, err := remotecommand.NewSPDYExecutor(c.config, "POST", request.URL())
	if err != nil {
		return "", 0, fmt.Errorf("run a command in pod %s/%s: %w", agent.Namespace, agent.Name, err)
	}
	var stdout, stderr bytes.Buffer
	err = executor.StreamWithContext(ctx, remotecommand.StreamOptions{Stdout: &stdout, Stderr: &stderr})
	var exit exec.ExitError
	switch {
	case errors.As(err, &exit) && exit.Exited():
		return stdout.String() + stderr.String(), exit.ExitStatus(), nil
	case apierrors.IsForbidden(err):
		return "", 0, fmt.Errorf("you lack the right to create pods/exec in namespace %s: %w", agent.Namespace, err)
	case err != nil:
		return "", 0, fmt.Errorf("run a command in pod %s/%s: %w %s", agent.Namespace, agent.Name, err, bytes.TrimSpace(stderr.Bytes()))
	}
	return stdout.String(), 0, nil
}
