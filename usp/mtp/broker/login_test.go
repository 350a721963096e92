package broker_test

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"testing"

	"github.com/eclipse/paho.golang/paho"

	"github.com/uspbridge/uspbridge/test/pki"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/mtp/broker"
)

// TestCertificates: a client's certificate says which endpoint it is (R-SEC.0a).
func TestCertificates(t *testing.T) {
	ca := pki.NewCA(t, "the operator")
	named := func(ids ...usp.EndpointID) []tls.Certificate {
		template := x509.Certificate{}
		for _, id := range ids {
			id.AddTo(&template)
		}
		return []tls.Certificate{ca.Issue(template).TLS()}
	}
	server := ca.Issue(x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}).TLS()
	b := start(t, broker.Config{TLS: &tls.Config{Certificates: []tls.Certificate{server}, ClientCAs: ca.Pool(), ClientAuth: tls.VerifyClientCertIfGiven}})
	plain := func() *paho.Connect {
		return &paho.Connect{ClientID: "x", KeepAlive: 30, CleanStart: true, Properties: &paho.ConnectProperties{}}
	}
	tests := []struct {
		name    string
		certs   []tls.Certificate
		connect *paho.Connect
		want    byte
		topic   string // that it may subscribe to
	}{
		{"one name", named(native), plain(), success, "usp/agent/" + string(native)},
		{"another's id", named(native), claiming(plain(), other), notAuthorized, ""},
		{"one of several names", named(native, other), claiming(plain(), other), success, "usp/agent/" + string(other)},
		{"several names, none said", named(native, other), plain(), badPassword, ""},
		{"no name", named(), plain(), badPassword, ""},
		{"none", nil, plain(), badPassword, ""},
		{"none, with password", nil, as("native"), success, "usp/agent/" + string(native)},
		{"beside the password of the same", named(native), as("native"), success, "usp/agent/" + string(native)},
		{"beside the password of another", named(other), as("native"), notAuthorized, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cl, err := b.try(t, tt.connect, &tls.Config{RootCAs: ca.Pool(), ServerName: "127.0.0.1", Certificates: tt.certs})
			if cl.connack == nil || cl.connack.ReasonCode != tt.want {
				t.Fatalf("answered %+v, %v; want 0x%02x", cl.connack, err, tt.want)
			}
			if tt.want == success && cl.subscribe(tt.topic) != granted {
				t.Errorf("it may not subscribe to %s", tt.topic)
			}
		})
	}
}

// TestAnonymous: on this machine and only if that is configured; the client id of
// MQTT 3.1.1 says who it is.
func TestAnonymous(t *testing.T) {
	b := start(t, broker.Config{Anonymous: true})
	nobody := &paho.Connect{ClientID: "no endpoint", KeepAlive: 30, CleanStart: true}
	if cl, err := b.try(t, nobody, nil); err == nil || cl.connack.ReasonCode != 0x85 {
		t.Errorf("nobody in particular: %v", err)
	}
	cl := b.connect(t, &paho.Connect{ClientID: string(native), KeepAlive: 30, CleanStart: true})
	if cl.subscribe("usp/agent/"+string(native)) != granted || cl.subscribe("usp/agent/"+string(other)) != notAuthorized {
		t.Error("an anonymous client has not the topics of the endpoint that it says it is")
	}
}
