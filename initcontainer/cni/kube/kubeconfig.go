package kube

import (
	"encoding/json"
	"errors"
	"fmt"
)

// kubeconfig is the part of the file of that name that the plug-in needs. JSON is YAML, so
// kubectl reads it, too.
type kubeconfig struct {
	APIVersion string    `json:"apiVersion"`
	Kind       string    `json:"kind"`
	Clusters   []cluster `json:"clusters"`
	Users      []user    `json:"users"`
	Contexts   []scope   `json:"contexts"`
	Current    string    `json:"current-context"`
}

type cluster struct {
	Name    string `json:"name"`
	Cluster struct {
		Server string `json:"server"`
		CA     []byte `json:"certificate-authority-data"`
	} `json:"cluster"`
}

type user struct {
	Name string `json:"name"`
	User struct {
		Token string `json:"token"`
	} `json:"user"`
}

type scope struct {
	Name    string `json:"name"`
	Context struct {
		Cluster string `json:"cluster"`
		User    string `json:"user"`
	} `json:"context"`
}

// Kubeconfig writes a as a kubeconfig. It holds the token: only root may read the file.
func (a Access) Kubeconfig() ([]byte, error) {
	const name = "istio-cni"
	var in cluster
	in.Name, in.Cluster.Server, in.Cluster.CA = name, a.Server, a.CA
	var as user
	as.Name, as.User.Token = name, a.Token
	var at scope
	at.Name, at.Context.Cluster, at.Context.User = name, name, name
	text, err := json.MarshalIndent(kubeconfig{
		APIVersion: "v1", Kind: "Config", Clusters: []cluster{in}, Users: []user{as}, Contexts: []scope{at}, Current: name,
	}, "", "  ")
	return append(text, '\n'), err
}

// ParseKubeconfig reads what Kubeconfig wrote.
func ParseKubeconfig(text []byte) (Access, error) {
	var k kubeconfig
	if err := json.Unmarshal(text, &k); err != nil {
		return Access{}, fmt.Errorf("read kubeconfig: %w", err)
	}
	if len(k.Clusters) != 1 || len(k.Users) != 1 {
		return Access{}, errors.New("read kubeconfig: want one cluster and one user")
	}
	return Access{Server: k.Clusters[0].Cluster.Server, CA: k.Clusters[0].Cluster.CA, Token: k.Users[0].User.Token}, nil
}
