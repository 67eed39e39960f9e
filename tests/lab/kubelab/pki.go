package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"time"
)

// identity is a certificate and its key.
type identity struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// writeIdentities makes the certificates and the administrator's kubeconfig, unless an earlier run has.
func (c *cluster) writeIdentities() {
	// Written last, the kubeconfig is the mark that all the others are there.
	if _, err := os.Stat(c.kubeconfig()); err == nil {
		return
	}
	ca := newIdentity(nil, c.pki("ca"), &x509.Certificate{Subject: pkix.Name{CommonName: "kubelab-" + c.name}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature})
	newIdentity(ca, c.pki("server"), &x509.Certificate{Subject: pkix.Name{CommonName: "kube-apiserver"}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv4(10, 96, 0, 1)},
		DNSNames: []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"}})
	newIdentity(ca, c.pki("admin"), &x509.Certificate{Subject: pkix.Name{CommonName: "admin-" + c.name, Organization: []string{"system:masters"}},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	// Signs the tokens of ServiceAccounts; only its key is used.
	newIdentity(nil, c.pki("sa"), &x509.Certificate{Subject: pkix.Name{CommonName: "serviceaccounts"}})
	must("kubeconfig", os.WriteFile(c.kubeconfig(), []byte(fmt.Sprintf(`apiVersion: v1
kind: Config
clusters: [{name: %[1]s, cluster: {server: "%[2]s", certificate-authority-data: %[3]s}}]
users: [{name: admin-%[1]s, user: {client-certificate-data: %[4]s, client-key-data: %[5]s}}]
contexts: [{name: %[1]s, context: {cluster: %[1]s, user: admin-%[1]s}}]
current-context: %[1]s
`, c.name, c.server(), c.inline("ca.crt"), c.inline("admin.crt"), c.inline("admin.key"))), 0o600))
}

func (c *cluster) inline(name string) string {
	raw, err := os.ReadFile(c.pki(name))
	must("pki", err)
	return base64.StdEncoding.EncodeToString(raw)
}

// newIdentity writes FILE.key and FILE.crt, signed by the parent, or by itself where there is none.
func newIdentity(parent *identity, file string, template *x509.Certificate) *identity {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must("key", err)
	template.SerialNumber, err = rand.Int(rand.Reader, big.NewInt(1<<62))
	must("serial", err)
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().AddDate(1, 0, 0)
	if parent == nil {
		parent = &identity{template, key}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent.cert, &key.PublicKey, parent.key)
	must("certificate", err)
	cert, err := x509.ParseCertificate(der)
	must("certificate", err)
	raw, err := x509.MarshalECPrivateKey(key)
	must("key", err)
	must("key", os.WriteFile(file+".key", pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: raw}), 0o600))
	must("certificate", os.WriteFile(file+".crt", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	return &identity{cert, key}
}
