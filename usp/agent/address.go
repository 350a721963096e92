package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/dm"
	"github.com/uspbridge/uspbridge/usp/mtp"
)

// controllerAddress is an enabled row of a controller's MTP table.
type controllerAddress struct {
	order   int64
	address mtp.Address
	target  mtp.Target // URL "": no session that the agent opens
}

func compileMTPs(spec *localSpec, s *state, tables map[rowKey][]uint32, controller dm.Instance) []controllerAddress {
	class := spec.classAt(controllerMTP)
	var out []controllerAddress
	for _, n := range tables[rowKey{class, controller}] {
		k := rowKey{class, controller.Append(n)}
		if s.named(k, "Enable") != "true" {
			continue
		}
		a := mtp.Address{Protocol: mtp.Protocol(s.named(k, "Protocol"))}
		var to mtp.Target
		switch a.Protocol {
		case mtp.MQTT:
			a.Topic = s.named(k, "MQTT.Topic")
		case mtp.STOMP:
			a.Destination = s.named(k, "STOMP.Destination")
		case mtp.WebSocket:
			a.URL = hostURL(s, k, "WebSocket.", "ws")
			to = mtp.Target{
				URL: a.URL, KeepAlive: secondsOf(s, k, "WebSocket.KeepAliveInterval"),
				Retry: retryPolicy(secondsOf(s, k, "WebSocket.SessionRetryMinimumWaitInterval"), float64(number(s.named(k, "WebSocket.SessionRetryIntervalMultiplier")))/1000),
			}
		case mtp.CoAP:
			a.URL = hostURL(s, k, "CoAP.", "coap")
		case mtp.UDS:
			a.URL = socketURL(spec, s, k)
			to = mtp.Target{URL: a.URL, Retry: mtp.UDSRetry}
		}
		out = append(out, controllerAddress{order: number(s.named(k, "Order")), address: a, target: to})
	}
	slices.SortStableFunc(out, func(x, y controllerAddress) int { return int(min(max(x.order-y.order, -1), 1)) })
	return out
}

func secondsOf(s *state, k rowKey, rel string) time.Duration {
	return time.Duration(number(s.named(k, rel))) * time.Second
}

// hostURL returns where a controller is connected to, "" if it has no host: it
// connects to us. The scheme is the one without encryption; an s is added with.
func hostURL(s *state, k rowKey, object, scheme string) string {
	host := s.named(k, object+"Host")
	if host == "" {
		return ""
	}
	u := url.URL{Scheme: scheme, Host: net.JoinHostPort(host, s.named(k, object+"Port")), Path: s.named(k, object+"Path")}
	if s.named(k, object+"EnableEncryption") == "true" {
		u.Scheme += "s"
	}
	return u.String()
}

// hostSchemes are the schemes of controllers' URLs and their ports.
var hostSchemes = map[mtp.Protocol]map[string]int{
	mtp.WebSocket: {"ws": 80, "wss": 443},
	mtp.CoAP:      {"coap": 5683, "coaps": 5684},
}

// setAddress writes a configured address into the values of a controller's MTP
// row. Sockets has the instance of the socket at a path.
func setAddress(values map[string]string, a mtp.Address, sockets map[string]uint32) error {
	values["Protocol"] = string(a.Protocol)
	switch a.Protocol {
	case mtp.MQTT:
		values["MQTT.Topic"] = a.Topic
	case mtp.STOMP:
		values["STOMP.Destination"] = a.Destination
	case mtp.UDS:
		if a.URL != "" {
			values["UDS.UnixDomainSocketRef"] = socketPath(sockets[a.URL])
		}
	case mtp.WebSocket, mtp.CoAP:
		if a.URL == "" {
			return nil
		}
		u, err := url.Parse(a.URL)
		ports := hostSchemes[a.Protocol]
		if err != nil || u.Hostname() == "" || ports[u.Scheme] == 0 {
			return fmt.Errorf("%q is not a %s URL", a.URL, a.Protocol)
		}
		port := u.Port()
		if port == "" {
			port = strconv.Itoa(ports[u.Scheme])
		}
		object := string(a.Protocol) + "."
		values[object+"Host"], values[object+"Port"], values[object+"Path"] = u.Hostname(), port, u.Path
		values[object+"EnableEncryption"] = strconv.FormatBool(u.Scheme == "wss" || u.Scheme == "coaps")
	}
	return nil
}

// toController sends a record by the first of a controller's ways that works:
// its MTP table in Order; without one, the connection it has to our WebSocket
// server. The built-in controller is reached over its connection alone.
func (h *Host) toController(ctx context.Context, from usp.EndpointID, to *controller, via any, rec []byte) error {
	if via != nil {
		return h.toAddress(ctx, from, to.endpoint, mtp.Address{Protocol: mtp.WebSocket, Conn: via}, rec)
	}
	ways := to.mtps
	if len(ways) == 0 {
		ways = []controllerAddress{{address: mtp.Address{Protocol: mtp.WebSocket}}}
	}
	var errs []error
	for _, w := range ways {
		err := h.toAddress(ctx, from, to.endpoint, w.address, rec)
		if err == nil {
			return nil
		}
		errs = append(errs, fmt.Errorf("%s: %w", w.address.Protocol, err))
	}
	return errors.Join(errs...)
}

// toAddress sends a record over the transports of the address's protocol.
func (h *Host) toAddress(ctx context.Context, from, to usp.EndpointID, addr mtp.Address, rec []byte) error {
	err := error(mtp.ErrUnreachable)
	for _, t := range h.cfg.Transports {
		if t.Protocol() != addr.Protocol {
			continue
		}
		if err = t.Send(ctx, from, to, addr, rec); err == nil || !errors.Is(err, mtp.ErrUnreachable) {
			return err
		}
	}
	return err
}

// replyAddress is where an answer goes: where the record came from; if that does
// not say (no Response Topic), where the controller's MTP table says.
func replyAddress(reply mtp.Address, to *controller) mtp.Address {
	if reply.Protocol == mtp.MQTT && reply.Topic == "" || reply.Protocol == mtp.STOMP && reply.Destination == "" {
		for _, w := range to.mtps {
			if w.address.Protocol == reply.Protocol {
				w.address.Conn, w.address.Answer = reply.Conn, reply.Answer
				return w.address
			}
		}
	}
	return reply
}
