package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"
)

// api asks the API server as its administrator, by hand: a client library would be much for three requests.
type api struct {
	server string
	client http.Client
}

func (c *cluster) newAPI() *api {
	authority, err := os.ReadFile(c.pki("ca.crt"))
	must("pki", err)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(authority)
	admin, err := tls.LoadX509KeyPair(c.pki("admin.crt"), c.pki("admin.key"))
	must("pki", err)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{admin}}}
	return &api{c.server(), http.Client{Timeout: 10 * time.Second, Transport: transport}}
}

func (a *api) get(path string) (string, int) {
	answer, err := a.client.Get(a.server + path)
	if err != nil {
		return "", 0
	}
	defer answer.Body.Close()
	body, _ := io.ReadAll(answer.Body)
	return string(body), answer.StatusCode
}

// status is the HTTP status, or 0 where nobody answers.
func (a *api) status(path string) int {
	_, code := a.get(path)
	return code
}

// makeNode makes a node as the provider's own would look to the API, and waits until kwok has made it Ready.
func (c *cluster) makeNode(ctx context.Context, a *api, name, provider string) {
	labels := map[string]string{"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}
	// As cloud providers label it: aws:///ZONE/ID, gce://PROJECT/ZONE/NAME. A lone id tells no zone.
	if parts := strings.Split(provider, "/"); len(parts) == 5 {
		labels["topology.kubernetes.io/zone"] = parts[3]
		labels["topology.kubernetes.io/region"] = region(parts[3])
	}
	body, err := json.Marshal(map[string]any{
		"apiVersion": "v1", "kind": "Node",
		"metadata": map[string]any{"name": name, "labels": labels, "annotations": map[string]string{"kwok.x-k8s.io/node": "fake"}},
		"spec":     map[string]any{"providerID": provider},
	})
	must("node", err)
	answer, err := a.client.Post(c.server()+"/api/v1/nodes", "application/json", strings.NewReader(string(body)))
	must("node", err)
	answer.Body.Close()
	if answer.StatusCode != http.StatusCreated && answer.StatusCode != http.StatusConflict {
		must("node "+name, fmt.Errorf("HTTP %d", answer.StatusCode))
	}
	c.wait(ctx, "node "+name, func() bool {
		node, _ := a.get("/api/v1/nodes/" + name)
		return strings.Contains(node, `"type":"Ready"`)
	})
}

// region is what a zone's name says of it: eu-central-1a lies in eu-central-1, europe-west3-b in europe-west3.
func region(zone string) string {
	region := strings.TrimRight(zone, "abcdef")
	return strings.TrimSuffix(region, "-")
}
