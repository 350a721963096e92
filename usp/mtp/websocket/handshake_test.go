package websocket

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/mtp"
	"github.com/uspbridge/uspbridge/usp/mtp/mtptest"
)

func TestHandshake(t *testing.T) {
	usesExtension := func(v string) http.Header { return http.Header{"Sec-WebSocket-Extensions": {v}} }
	tests := []struct {
		name   string
		path   string
		header http.Header
		status int // 101 unless given
		peer   usp.EndpointID
		local  usp.EndpointID
		answer string // the extension header of the response
	}{
		{name: "any agent, peer unknown", path: "/usp"},
		{name: "trailing slash", path: "/usp/"},
		{name: "peer by eid", path: "/usp?eid=proto::controller-1", peer: controller},
		{name: "eid among other data", path: "/usp?x=1&eid=proto%3A%3Acontroller-1&y", peer: controller},
		{name: "eid escaped twice, as R-WS.10c has it", path: "/usp?eid=os::00259E-A%2520B", peer: agentB},
		{name: "agent by path", path: "/usp/" + string(agentA), local: agentA},
		{name: "agent by path with percent", path: "/usp/os::00259E-A%2520B?eid=proto::controller-1", peer: controller, local: agentB},
		{name: "extension offered, one agent", path: "/usp/" + string(agentA), header: usesExtension(`bbf-usp-protocol; eid="proto::controller-1"`),
			peer: controller, local: agentA, answer: `bbf-usp-protocol; eid="` + string(agentA) + `"`},
		{name: "extension offered, any agent", path: "/usp", header: usesExtension(`permessage-deflate, bbf-usp-protocol;eid=proto::controller-1`), peer: controller},
		// Deviation: ws of Node.js – refuses an extension that it has not offered; bbf-usp-protocol is answered only when offered
		{name: "other extension", path: "/usp/" + string(agentA), header: usesExtension(`permessage-deflate; client_max_window_bits`), local: agentA},
		{name: "query before extension", path: "/usp?eid=proto::controller-1", header: usesExtension(`bbf-usp-protocol; eid="proto::other"`), peer: controller},
		{name: "bad eid", path: "/usp?eid=nobody", status: 400},
		{name: "bad agent", path: "/usp/nobody", status: 404},
		{name: "other path", path: "/", status: 404},
		{name: "path with the same beginning", path: "/uspx", status: 404},
		{name: "foreign web page", path: "/usp", header: http.Header{"Origin": {"http://evil.example"}}, status: 403},
	}
	h := mtptest.NewRecorder()
	s := serve(t, Config{}, h)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ws, resp, err := dial(t, s, tt.path, tt.header)
			if tt.status != 0 {
				if err == nil || resp == nil || resp.StatusCode != tt.status {
					t.Fatalf("got %v, %v; want status %d", resp, err, tt.status)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := resp.Header.Get("Sec-WebSocket-Extensions"); got != tt.answer {
				t.Errorf("extension header of the answer: %q, want %q", got, tt.answer)
			}
			if got := ws.Subprotocol(); got != Subprotocol {
				t.Errorf("subprotocol %q", got)
			}
			if tt.peer != "" {
				if got, want := mtptest.Wait(t, h.Opened, "Connected"), (mtptest.Ends{Peer: tt.peer, Local: tt.local}); got != want {
					t.Errorf("Connected(%v), want %v", got, want)
				}
			}
			send(t, ws, []byte{1})
			if in := mtptest.Wait(t, h.In, "record"); in.Peer != tt.peer || in.Local != tt.local || in.Reply.Protocol != mtp.WebSocket {
				t.Errorf("got %+v, want peer %q local %q", in, tt.peer, tt.local)
			}
		})
	}
}

func TestHandshakeWithoutSubprotocolIsRefused(t *testing.T) { // R-WS.12a
	s := serve(t, Config{}, mtptest.NewRecorder())
	for _, protocols := range [][]string{nil, {"mqtt"}} {
		_, resp, err := (&websocket.Dialer{Subprotocols: protocols}).Dial("ws://"+s.Addr().String()+"/usp", nil)
		if err == nil || resp.StatusCode != http.StatusBadRequest {
			t.Errorf("offering %q: %v, want status 400", protocols, err)
		}
	}
}

func TestPlainHTTPIsAnsweredWithUpgradeRequired(t *testing.T) {
	s := serve(t, Config{}, mtptest.NewRecorder())
	resp, err := http.Get("http://" + s.Addr().String() + "/usp")
	if err != nil {
		t.Fatal(err)
	}
	defer http.DefaultClient.CloseIdleConnections()
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusUpgradeRequired {
		t.Errorf("status %d", resp.StatusCode)
	}
}

func TestTrust(t *testing.T) {
	s, err := NewServer(Config{Listen: ":0", Token: "s3cret", Origins: []string{"https://console.example"}})
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name   string
		remote string
		header http.Header
		want   bool
	}{
		{"loopback", "127.0.0.1:1000", nil, true},
		{"loopback, IPv6", "[::1]:1000", nil, true},
		{"remote", "192.0.2.1:1000", nil, false},
		{"remote with token", "192.0.2.1:1000", http.Header{"Authorization": {"Bearer s3cret"}}, true},
		{"remote with wrong token", "192.0.2.1:1000", http.Header{"Authorization": {"Bearer s3cre"}}, false},
		{"behind a proxy on loopback", "127.0.0.1:1000", http.Header{"X-Forwarded-For": {"192.0.2.1"}}, false},
		{"behind another proxy", "127.0.0.1:1000", http.Header{"Forwarded": {"for=192.0.2.1"}}, false},
		{"browser on this machine", "127.0.0.1:1000", http.Header{"Origin": {"https://console.example"}}, false},
		{"not an address", "@", nil, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := &http.Request{URL: &url.URL{Path: "/usp"}, RemoteAddr: tt.remote, Header: tt.header}
			if got := s.trusts(r); got != tt.want {
				t.Errorf("trusts = %v, want %v", got, tt.want)
			}
		})
	}
	if s, err := NewServer(Config{Listen: ":0"}); err != nil || s.trusts(&http.Request{RemoteAddr: "192.0.2.1:1", Header: http.Header{"Authorization": {"Bearer "}}}) {
		t.Errorf("an empty token is trusted (%v)", err)
	}
}

func FuzzExtensionEndpoint(f *testing.F) {
	f.Add(`bbf-usp-protocol; eid="proto::controller-1"`)
	f.Add(`permessage-deflate; a, bbf-usp-protocol;eid=`)
	f.Add(`;;,,=`)
	f.Fuzz(func(t *testing.T, s string) {
		if eid, offered := extensionEndpoint([]string{s}); eid != "" && !offered {
			t.Errorf("endpoint %q of an extension that was not offered", eid)
		}
	})
}
