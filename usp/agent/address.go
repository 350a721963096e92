package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"

	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/dm"
	"github.com/uspbridge/uspbridge/usp/mtp"
)

// controllerAddress is an enabled row of a controller's MTP table.
type controllerAddress struct {
	order   int64
	address mtp.Address
}

func compileMTPs(class *class, s *state, tables map[rowKey][]uint32, controller dm.Instance) []controllerAddress {
	var out []controllerAddress
	for _, n := range tables[rowKey{class, controller}] {
		k := rowKey{class, controller.Append(n)}
		if s.named(k, "Enable") != "true" {
			continue
		}
		a := mtp.Address{Protocol: mtp.Protocol(s.named(k, "Protocol"))}
		switch a.Protocol {
		case mtp.MQTT:
			a.Topic = s.named(k, "MQTT.Topic")
		case mtp.STOMP:
			a.Destination = s.named(k, "STOMP.Destination")
		case mtp.WebSocket:
			a.URL = webSocketURL(s, k)
		}
		out = append(out, controllerAddress{order: number(s.named(k, "Order")), address: a})
	}
	slices.SortStableFunc(out, func(x, y controllerAddress) int { return int(min(max(x.order-y.order, -1), 1)) })
	return out
}

// webSocketURL returns where to connect to a controller, "" if it connects to
// us.
func webSocketURL(s *state, k rowKey) string {
	host := s.named(k, "WebSocket.Host")
	if host == "" {
		return ""
	}
	u := url.URL{Scheme: "ws", Host: net.JoinHostPort(host, s.named(k, "WebSocket.Port")), Path: s.named(k, "WebSocket.Path")}
	if s.named(k, "WebSocket.EnableEncryption") == "true" {
		u.Scheme = "wss"
	}
	return u.String()
}

// setAddress writes a configured address into the values of a controller's MTP
// row.
func setAddress(values map[string]string, a mtp.Address) error {
	values["Protocol"] = string(a.Protocol)
	switch a.Protocol {
	case mtp.MQTT:
		values["MQTT.Topic"] = a.Topic
	case mtp.STOMP:
		values["STOMP.Destination"] = a.Destination
	case mtp.WebSocket:
		if a.URL == "" {
			return nil
		}
		u, err := url.Parse(a.URL)
		if err != nil || u.Hostname() == "" || u.Scheme != "ws" && u.Scheme != "wss" {
			return fmt.Errorf("%q is not a ws:// or wss:// URL", a.URL)
		}
		port := u.Port()
		if port == "" {
			port = strconv.Itoa(map[string]int{"ws": 80, "wss": 443}[u.Scheme])
		}
		values["WebSocket.Host"], values["WebSocket.Port"] = u.Hostname(), port
		values["WebSocket.Path"] = u.Path
		values["WebSocket.EnableEncryption"] = strconv.FormatBool(u.Scheme == "wss")
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
