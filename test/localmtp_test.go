package test

import (
	"context"
	"crypto/tls"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/uspbridge/uspbridge/cwmp/cpesim"
	"github.com/uspbridge/uspbridge/test/pki"
	"github.com/uspbridge/uspbridge/test/testenv"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/client"
	"github.com/uspbridge/uspbridge/usp/mtp"
	"github.com/uspbridge/uspbridge/usp/mtp/coap"
	"github.com/uspbridge/uspbridge/usp/mtp/uds"
	"github.com/uspbridge/uspbridge/usp/mtp/websocket"
)

// localController is a controller that agents reach without a broker.
const localController = usp.EndpointID("proto::local-controller")

// controllerOver is localController over a transport of its own.
func controllerOver(t *testing.T, env *testenv.Env, tr mtp.Transport, err error, route func(usp.EndpointID) mtp.Address) *testenv.Controller {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), testenv.Patience)
	defer cancel()
	link, err := client.OverLink(ctx, localController, tr, route)
	if err != nil {
		t.Fatal(err)
	}
	return env.ControllerOver(localController, patientLink{link})
}

// patientLink waits for agents that have yet to connect.
type patientLink struct{ client.Link }

func (l patientLink) Send(ctx context.Context, to usp.EndpointID, record []byte) error {
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		err := l.Link.Send(ctx, to, record)
		if !errors.Is(err, mtp.ErrUnreachable) {
			return err
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return err
		}
	}
}

// writeCA writes the certificate of an authority.
func writeCA(t *testing.T, ca *pki.CA, file string) {
	t.Helper()
	if err := os.WriteFile(file, ca.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
}

// reached is the controller's row with a URL that agents connect to.
func reached(protocol mtp.Protocol, at string) []testenv.ControllerRow {
	return []testenv.ControllerRow{{EndpointID: localController, MTP: map[string]string{"protocol": string(protocol), "url": at}}}
}

// live is the address of agents that are connected.
func live(protocol mtp.Protocol) func(usp.EndpointID) mtp.Address {
	return func(usp.EndpointID) mtp.Address { return mtp.Address{Protocol: protocol} }
}

// TestWebSocketOfAgents: agents connect to a controller, over TLS with the
// certificate of the bridge, and again after the bridge was killed.
func TestWebSocketOfAgents(t *testing.T) {
	t.Parallel()
	dir, ca := t.TempDir(), pki.NewCA(t, "operator")
	file := func(name string) string { return filepath.Join(dir, name) }
	writeCA(t, ca, file("ca.pem"))
	ca.Client("bridge").Write(file("cert.pem"), file("key.pem"))
	at := testenv.FreeAddress(t)
	env := testenv.Start(t, program, testenv.Config{
		Keys: map[string]any{"usp.mtp.websocket.client.tls.ca": file("ca.pem"),
			"usp.mtp.websocket.client.tls.cert": file("cert.pem"), "usp.mtp.websocket.client.tls.key": file("key.pem")},
		Controllers: reached(mtp.WebSocket, "wss://"+at+"/usp"),
	})
	server, err := websocket.NewServer(websocket.Config{Listen: at, TLS: &tls.Config{
		Certificates: []tls.Certificate{ca.Client("controller").TLS()}, ClientCAs: ca.Pool(), ClientAuth: tls.RequireAndVerifyClientCert}})
	controller := controllerOver(t, env, server, err, live(mtp.WebSocket))
	manage(t, env, controller, string(mtp.WebSocket))

	cpe := env.CPE(cpesim.TR181())
	controller.Value(cpe.Agent, "Device.DeviceInfo.SerialNumber")
	env.Kill()
	env.Restart()
	testenv.Until(t, "the agent has connected and answers", func() bool {
		_, err := controller.TryGet(cpe.Agent, "Device.DeviceInfo.SerialNumber")
		return err == nil
	})
}

// TestUnixDomainSocket: a controller of the same machine connects to the bridge.
func TestUnixDomainSocket(t *testing.T) {
	t.Parallel()
	socket := filepath.Join(t.TempDir(), "s")
	env := testenv.Start(t, program, testenv.Config{
		Keys:        map[string]any{"usp.mtp.uds.listen": socket},
		Controllers: []testenv.ControllerRow{{EndpointID: localController, MTP: map[string]string{"protocol": "UDS"}}},
	})
	ctx, cancel := context.WithTimeout(t.Context(), testenv.Patience)
	defer cancel()
	link, err := client.DialLink(ctx, client.Config{URL: uds.Scheme + socket, Controller: localController})
	if err != nil {
		t.Fatal(err)
	}
	manage(t, env, env.ControllerOver(localController, link), "")

	cpe := env.CPE(cpesim.TR181())
	if got := env.Run("get", "--bridge", uds.Scheme+socket, "--to", string(cpe.Agent), "Device.DeviceInfo.SerialNumber"); got == "" {
		t.Error("the command line gets nothing over the socket")
	}
}

// TestUnixDomainSocketOfAgents: agents connect to a controller of the same
// machine.
func TestUnixDomainSocketOfAgents(t *testing.T) {
	t.Parallel()
	socket := filepath.Join(t.TempDir(), "s")
	env := testenv.Start(t, program, testenv.Config{Controllers: reached(mtp.UDS, uds.Scheme+socket)})
	server, err := uds.New(uds.Config{Listen: socket, Endpoint: localController})
	manage(t, env, controllerOver(t, env, server, err, live(mtp.UDS)), string(mtp.UDS))
}

// TestCoAP: a controller and the bridge POST to each other.
func TestCoAP(t *testing.T) {
	t.Parallel()
	for name, secure := range map[string]bool{"plain": false, "DTLS": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, ca := t.TempDir(), pki.NewCA(t, "operator")
			file := func(name string) string { return filepath.Join(dir, name) }
			writeCA(t, ca, file("ca.pem"))
			ca.Client("bridge").Write(file("cert.pem"), file("key.pem"))
			at, bridge, scheme := testenv.FreeAddress(t), testenv.FreeAddress(t), "coap"
			keys := map[string]any{"usp.mtp.coap.listen": bridge}
			cfg := coap.Config{Listen: at}
			if secure {
				scheme = "coaps"
				keys["usp.mtp.coap.tls.ca"], keys["usp.mtp.coap.tls.cert"], keys["usp.mtp.coap.tls.key"] = file("ca.pem"), file("cert.pem"), file("key.pem")
				cfg.Secure, cfg.Certificates, cfg.Roots = true, []tls.Certificate{ca.Client("controller").TLS()}, ca.Pool()
			}
			env := testenv.Start(t, program, testenv.Config{Keys: keys, Controllers: reached(mtp.CoAP, scheme+"://"+at+"/usp")})
			tr, err := coap.New(cfg)
			manage(t, env, controllerOver(t, env, tr, err, func(agent usp.EndpointID) mtp.Address {
				return mtp.Address{Protocol: mtp.CoAP, URL: scheme + "://" + bridge + "/usp/" + url.PathEscape(string(agent))}
			}), "")
		})
	}
}
