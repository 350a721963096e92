package conformance

import (
	"bytes"
	"context"
	"crypto/tls"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/plgd-dev/go-coap/v3/message"
	"github.com/plgd-dev/go-coap/v3/message/codes"
	"github.com/plgd-dev/go-coap/v3/message/pool"
	"github.com/plgd-dev/go-coap/v3/options"
	coapudp "github.com/plgd-dev/go-coap/v3/udp"
	"github.com/plgd-dev/go-coap/v3/udp/coder"

	"github.com/uspbridge/uspbridge/test/testenv"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/client"
	"github.com/uspbridge/uspbridge/usp/mtp"
	"github.com/uspbridge/uspbridge/usp/mtp/coap"
	"github.com/uspbridge/uspbridge/usp/record"
	"github.com/uspbridge/uspbridge/usp/usppb"
)

// coapCases are the tests of section 5. All are deprecated by the plan, as CoAP is
// by the standard; they are played since the bridge speaks it.
func coapCases() []testCase {
	return forOnly(mtp.CoAP, []testCase{
		{number: "5.1", title: "A record in a CoAP message", play: func(t *trial) {
			r := t.controllerSocket()
			t.posts(r.getFrom(localAgent), codes.Changed)
			m := r.message()
			if format, err := m.ContentFormat(); err != nil || format != message.AppOctets || m.Code() != codes.POST {
				t.Errorf("the answer came by %s in the format %v", m.Code(), format)
			}
		}},
		{number: "5.2", title: "A record that is too long for a CoAP message", play: func(t *trial) {
			r := t.controllerSocket()
			t.posts(r.getFrom("Device."), codes.Changed)
			m := r.message()
			if block, err := m.GetOptionUint32(message.Block1); err != nil || block&8 == 0 || block>>4 != 0 {
				t.Errorf("the first message has the block %x: %v", block, err)
			}
			t.Get("Device.").got(1) // all blocks, put together
		}},
		{number: "5.3", title: "An exchange", play: func(t *trial) {
			t.posts(t.controllerSocket().getFrom(localAgent), codes.Changed)
		}},
		{number: "5.4", timed: true, title: "An exchange that times out", play: func(t *trial) {
			r := t.controllerSocket()
			t.posts(r.getFrom(endpointID), codes.Changed)
			first, again := r.datagram(), r.datagram()
			if !bytes.Equal(first, again) {
				t.Errorf("%x was sent again as %x", first, again)
			}
			r.acknowledge(again)
			t.Get(endpointID).got(1)
		}},
		{number: "5.5", title: "A wrong method", play: func(t *trial) {
			r := t.controllerSocket().getFrom(localAgent)
			r.code = 6
			t.posts(r, codes.MethodNotAllowed)
		}},
		{number: "5.6", title: "A wrong format", play: func(t *trial) {
			r := t.controllerSocket().getFrom(localAgent)
			r.format = 0x113a
			t.posts(r, codes.UnsupportedMediaType)
		}},
		{number: "5.7", title: "A malformed record", play: func(t *trial) {
			r := t.controllerSocket().getFrom(localAgent)
			r.record = []byte("no record")
			t.posts(r, codes.BadRequest)
		}},
		{number: "5.8", title: "DTLS", play: func(t *trial) { t.overDTLS() }},
	})
}

// coapLink connects a controller to the bridge of a field.
func coapLink(t *testing.T, id usp.EndpointID, c coap.Config, bridge string) client.Link {
	t.Helper()
	tr, err := coap.New(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), testenv.Patience)
	defer cancel()
	l, err := client.OverLink(ctx, id, tr, func(usp.EndpointID) mtp.Address { return mtp.Address{Protocol: mtp.CoAP, URL: bridge} })
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// coapRequest is a request of the primary controller.
type coapRequest struct {
	code    codes.Code
	format  message.MediaType
	replyTo string
	record  []byte
}

// posts sends a request and expects that code.
func (t *trial) posts(r coapRequest, want codes.Code) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testenv.Patience)
	defer cancel()
	cc, err := coapudp.Dial(t.field.udpAddress(coapBridge), options.WithErrors(func(error) {}))
	if err != nil {
		t.Fatal(err)
	}
	defer cc.Close()
	req, err := cc.NewPostRequest(ctx, "/usp", r.format, bytes.NewReader(r.record))
	if err != nil {
		t.Fatal(err)
	}
	req.SetCode(r.code)
	req.AddQuery("reply-to=" + r.replyTo)
	resp, err := cc.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if resp.Code() != want {
		t.Errorf("answered %s, want %s", resp.Code(), want)
	}
}

// coapBridge is the bridge among the addresses of a field.
const coapBridge = usp.EndpointID("self::uspbridge")

// udpAddress is where the bridge, or a controller, of a field listens for CoAP.
func (f *field) udpAddress(id usp.EndpointID) string {
	f.udp.Lock()
	defer f.udp.Unlock()
	if f.udp.at == nil {
		f.udp.at = map[usp.EndpointID]string{}
	}
	if f.udp.at[id] == "" {
		f.udp.at[id] = testenv.FreeAddressOn(f.udp.t, "udp", "127.0.0.1")
	}
	return f.udp.at[id]
}

// udpAddresses are those of a field.
type udpAddresses struct {
	sync.Mutex
	t  testing.TB
	at map[usp.EndpointID]string
}

// controllerSocket is the socket to which an answer goes, of a controller that
// does with it what a case wants.
func (t *trial) controllerSocket() *controllerSocket {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err == nil {
		err = conn.SetDeadline(time.Now().Add(testenv.Patience))
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &controllerSocket{t, conn, nil}
}

type controllerSocket struct {
	t    *trial
	conn net.PacketConn
	from net.Addr // of the last datagram
}

// getFrom is a good Get of an object, to be answered here.
func (s *controllerSocket) getFrom(path string) coapRequest {
	s.t.Helper()
	b, err := record.WrapMsg(primaryID, s.t.agent, usp.RecordVersion, &usppb.Msg{
		Header: &usppb.Header{MsgId: s.t.newID(), MsgType: usppb.Header_GET},
		Body: &usppb.Body{MsgBody: &usppb.Body_Request{Request: &usppb.Request{
			ReqType: &usppb.Request_Get{Get: &usppb.Get{ParamPaths: []string{path}}}}}},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return coapRequest{codes.POST, message.AppOctets, "coap://" + s.conn.LocalAddr().String() + "/usp", b}
}

// datagram waits for the next one from the bridge.
func (s *controllerSocket) datagram() []byte {
	s.t.Helper()
	b := make([]byte, 2000)
	n, from, err := s.conn.ReadFrom(b)
	if err != nil {
		s.t.Fatalf("nothing came from the agent: %v", err)
	}
	s.from = from
	return b[:n]
}

func (s *controllerSocket) parse(datagram []byte) *pool.Message {
	s.t.Helper()
	m := pool.NewMessage(s.t.Context())
	if _, err := m.UnmarshalWithDecoder(coder.DefaultCoder, datagram); err != nil {
		s.t.Fatal(err)
	}
	return m
}

// message waits for the next message from the bridge, and acknowledges it.
func (s *controllerSocket) message() *pool.Message {
	s.t.Helper()
	b := s.datagram()
	s.acknowledge(b)
	return s.parse(b)
}

// acknowledge answers a datagram with 2.04.
func (s *controllerSocket) acknowledge(datagram []byte) {
	s.t.Helper()
	m := s.parse(datagram)
	ack := pool.NewMessage(s.t.Context())
	ack.SetCode(codes.Changed)
	ack.SetType(message.Acknowledgement)
	ack.SetMessageID(m.MessageID())
	ack.SetToken(m.Token())
	b, err := ack.MarshalWithEncoder(coder.DefaultCoder)
	if err == nil {
		_, err = s.conn.WriteTo(b, s.from)
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// overDTLS is test 5.8, with another bridge, which has a certificate.
func (t *trial) overDTLS() {
	t.Helper()
	c := newCertificate(t.T)
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		t.Fatal(err)
	}
	at := testenv.FreeAddressOn(t.T, "udp", "127.0.0.1")
	own := coap.Config{Listen: testenv.FreeAddressOn(t.T, "udp", "127.0.0.1"), Secure: true, Certificates: []tls.Certificate{pair}, Roots: c.roots}
	env := testenv.Start(t.T, program, testenv.Config{
		Keys:        map[string]any{"usp.mtp.coap.listen": at, "usp.mtp.coap.tls.cert": c.certFile, "usp.mtp.coap.tls.key": c.keyFile, "usp.mtp.coap.tls.ca": c.certFile},
		Controllers: []testenv.ControllerRow{{EndpointID: primaryID, MTP: map[string]string{"protocol": "CoAP", "url": "coaps://" + own.Listen + "/usp"}}},
	})
	other := env.CPE(t.field.gateway.model)
	secure := newController(t, primaryID, coapLink(t.T, primaryID, own, "coaps://"+at+"/usp"))
	s := &trial{T: t.T, line: secure.to(other.Agent), field: t.field, cpe: other}
	s.Get(localAgent).got(1)
}
