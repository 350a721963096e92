// Package mtp is the one interface of all Message Transfer Protocols. A
// transport moves opaque USP records between this program and remote endpoints;
// it knows addresses and connections, not messages, agents or devices. Package
// agent stands above it for hosted agents, package client for a controller.
package mtp

import (
	"context"
	"crypto/x509"
	"errors"
	"time"

	"github.com/uspbridge/uspbridge/usp"
)

// Protocol is the name of a transport as Device:2 writes it.
type Protocol string

// The protocols of Device.LocalAgent.MTP.{i}.Protocol.
const (
	WebSocket Protocol = "WebSocket"
	MQTT      Protocol = "MQTT"
	STOMP     Protocol = "STOMP"
	UDS       Protocol = "UDS"
	CoAP      Protocol = "CoAP"
)

// Address says where a remote endpoint is reached on one transport. Which
// fields matter is the transport's business: Topic for MQTT, Destination for
// STOMP, URL for CoAP, and for WebSockets and Unix domain sockets that a hosted
// endpoint opens (see Dialing). Conn is the transport's own token for a
// live connection and is preferred while it lives; it is comparable and does
// not survive a restart.
type Address struct {
	Protocol    Protocol
	Topic       string
	Destination string
	URL         string
	Conn        any

	// Version is that of MQTT which is spoken at the Topic of a hosted endpoint, for
	// its Connect record: "3.1.1", or "" for 5.0.
	Version string

	// Answer is set in the Reply of what comes over a broker: what goes there
	// answers something that was done and will not be done again. While the broker
	// is away the transport keeps it for a while, where it would refuse another.
	Answer bool
}

// Proven is implemented by an Address.Conn that knows whether its peer has proven to
// the transport who it is, before it has sent a record.
type Proven interface{ Proven() bool }

// Inbound is a record that arrived.
type Inbound struct {
	Record []byte         // the encoded USP record; the receiver may keep it
	Reply  Address        // where an answer goes
	Peer   usp.EndpointID // the sender as the connection has it (bbf-usp-protocol, ?eid=, …); "" if it does not say
	Local  usp.EndpointID // the hosted endpoint the address names (/usp/<id>, topic); "" if it does not say

	// Trusted is set for a connection that may speak as the built-in
	// command-line controller: loopback, or the console token was shown.
	Trusted bool

	// Proven is set when the transport has authenticated Peer: its certificate
	// has the endpoint id, or the broker vouches for the sender. Without it Peer
	// is what the sender says of itself.
	Proven bool
	// Chain is the certificate chain the peer showed on this connection, leaf first,
	// whose key it has; nil if it showed none or a broker is between. Who vouches for
	// it is for the agent to judge.
	Chain []*x509.Certificate
}

// Handler takes what a transport receives. Receive must not block for long:
// transports may call it from their reading loop; it returns an error when the
// record is refused so badly that the transport should close the connection
// (WebSocket 1003/1007/1008), nil otherwise.
type Handler interface {
	Receive(in Inbound) error
	// Connected tells of a new usable path to a peer, for transports where the
	// peer is known (a WebSocket connection with an endpoint id), so that a
	// Connect record can be sent. Disconnected tells that it has ended.
	Connected(peer, local usp.EndpointID, via Address)
	Disconnected(peer, local usp.EndpointID, via Address)
}

// Transport is a running Message Transfer Protocol.
type Transport interface {
	Protocol() Protocol
	// Serve runs until ctx ends, reconnecting by itself; it returns an error
	// only if it cannot start at all (address in use, bad configuration).
	Serve(ctx context.Context, h Handler) error
	// Ready is closed once the transport has first been usable.
	Ready() <-chan struct{}
	// Send hands one encoded record from a hosted endpoint to a remote one.
	// It returns when the record was written to the connection (QoS 1: or
	// taken over by the client's own queue), or with an error: ErrUnreachable
	// if there is no way to the address now.
	Send(ctx context.Context, from, to usp.EndpointID, addr Address, record []byte) error
	// Status tells, for Device.LocalAgent.MTP and the console, whether the
	// transport is up and what it last failed with.
	Status() Status
}

// Status is a transport's state.
type Status struct {
	Up        bool
	LastError string
	Trouble   Trouble // what kind of error that is
	Sent      uint64
	Received  uint64
	Refused   uint64
}

// ErrUnreachable means that no connection leads to the address at the moment.
var ErrUnreachable = errors.New("endpoint not reachable now")

// ErrFlood is the error of a Handler for a record of an endpoint that sends more
// than it may. A transport on which the endpoint has a connection of its own closes
// that, a WebSocket with 1008.
var ErrFlood = errors.New("too many records from this endpoint")

// Hosting is implemented by transports that must be told which endpoints this
// program hosts, because their broker has no wildcard to subscribe with
// (STOMP queues). The bridge calls Host when an agent appears and Unhost when
// it is forgotten; both may be called before Serve, at any time and repeatedly,
// and survive a lost connection.
type Hosting interface {
	Host(endpoints ...usp.EndpointID)
	Unhost(endpoints ...usp.EndpointID)
}

// Listening is implemented by transports over a broker that can also take records
// at an address not made from their template: where a native agent writes to a
// controller that is reached elsewhere. What comes there has Local set to
// endpoint. Listen may be called before Serve, at any time and repeatedly, and
// survives a lost connection, as Hosting does; it fails on an address that cannot
// be subscribed to.
type Listening interface {
	Listen(at Address, endpoint usp.EndpointID) error
	Unlisten(at Address)
}

// Dialing is implemented by transports on which a hosted endpoint opens the
// connection to a controller itself (TR-369 R-WS.5, R-UDS.4). All methods may be
// called before Serve, at any time and repeatedly.
type Dialing interface {
	// Dial keeps a session between a hosted endpoint and a peer from now on: it is
	// opened when its turn comes, and again after the waits of to.Retry whenever it
	// ends. A session that the peer has opened is as good; there is one at a time.
	Dial(local, peer usp.EndpointID, to Target)
	// Hang ends what Dial began.
	Hang(local, peer usp.EndpointID)
	// Again tries at once for a session that waits for its next try, as if it were
	// the first: the endpoint's device has rebooted (R-WS.21).
	Again(local, peer usp.EndpointID)
	// Retries returns how often a session was tried for since the last that worked.
	Retries(local, peer usp.EndpointID) int
}

// Target is where and how a session is opened.
type Target struct {
	URL       string // ws://, wss:// or unix://
	Retry     Backoff
	KeepAlive time.Duration // silence after which a Ping is sent; 0: as the transport has it
	// Guest is set if the local endpoint is not hosted here, but relayed. However many
	// there are, the sessions of hosted endpoints are opened as soon as if there were
	// none, or half as fast.
	Guest bool
}

// Publication is a message that is no record, for a topic of a broker.
type Publication struct {
	From        usp.EndpointID // the hosted endpoint over whose connection it goes, if it has one
	Topic       string
	ContentType string
	QoS         byte
	Retain      bool
	Payload     []byte
}

// Publisher is implemented by transports over a broker with topics (MQTT).
// Publish returns when the broker has taken the message over (QoS 0: when it was
// written), with ErrUnreachable if there is no connection.
type Publisher interface {
	Publish(ctx context.Context, p Publication) error
}

// Addressing is implemented by transports on which a hosted endpoint has an
// address of its own, to be shown in Device.LocalAgent.MTP and put into Connect
// records: its Topic, Destination or URL.
type Addressing interface {
	AgentAddress(endpoint usp.EndpointID) Address
}
