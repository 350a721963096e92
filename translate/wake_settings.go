package translate

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/store"
	"github.com/uspbridge/uspbridge/translate/tree"
	"github.com/uspbridge/uspbridge/usp/dm"
)

// WakeSettings is what CPE are told of the ways by which they can be woken, and
// by which they can tell changes. What is empty is left as it is on the CPE.
type WakeSettings struct {
	STUNAddress      string // host:port of the STUN server
	STUNMinKeepAlive time.Duration
	STUNMaxKeepAlive time.Duration

	XMPPJID    string      // our Jabber id, which CPE allow to wake them
	XMPPDevice XMPPAccount // the CPE's account

	NotifyAddress string // host:port that lightweight notifications go to
}

// XMPPAccount is what a CPE logs in to an XMPP server with.
type XMPPAccount struct {
	Username string // template: {oui}, {product_class}, {serial}; "": CPE have accounts of their own
	Password string
	Domain   string
	Server   string // host:port; "": by DNS
}

// secretKey is where the secret lies that passwords of STUN are derived from.
var secretKey = store.Key{Kind: store.Meta, Owner: "connection-request", Name: "secret"}

// loadSecret returns the secret, made at the first start, or if it cannot be
// opened any more: CPE are given the passwords that stem from it again then.
func loadSecret(ctx context.Context, st store.Store, sealer store.Sealer) ([]byte, error) {
	for range 2 { // another node may make it at the same time
		sealed, err := st.Get(ctx, secretKey)
		if err == nil {
			if secret, err := sealer.Open(secretKey, sealed); err == nil {
				return secret, nil
			}
		} else if !errors.Is(err, store.ErrNotFound) {
			return nil, fmt.Errorf("secret of connection requests: %w", err)
		}
		secret := make([]byte, 32)
		if _, err := rand.Read(secret); err != nil {
			return nil, fmt.Errorf("secret of connection requests: %w", err)
		}
		var batch store.Batch
		batch.CompareAndSet(secretKey, sealed, sealer.Seal(secretKey, secret))
		if err := st.Commit(ctx, &batch); err == nil {
			return secret, nil
		} else if !errors.Is(err, store.ErrConflict) {
			return nil, fmt.Errorf("secret of connection requests: %w", err)
		}
	}
	return nil, errors.New("secret of connection requests: others change it all the time")
}

// STUNPassword returns the password of a CPE's STUN client, whose name is its
// device key. It is derived: what a forged datagram makes the bridge do must cost
// nothing. Its length is a multiple of four, as classic STUN wants.
func (b *Bridge) STUNPassword(key cwmp.DeviceKey) string { return b.derive("STUN " + string(key)) }

func (b *Bridge) derive(from string) string {
	mac := hmac.New(sha256.New, b.secret)
	mac.Write([]byte(from))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:18])
}

// wakeFingerprint names what CPE are to be given, also by the secret that their
// passwords stem from.
func (b *Bridge) wakeFingerprint() string {
	return b.derive(fmt.Sprintf("settings %q", b.cfg.ConnectionRequest.Settings))
}

// maxSTUNUsername is what STUNUsername holds (TR-181).
const maxSTUNUsername = 256

// wakeSettings returns what a CPE should be given, of what it has and does not
// have so already. A name is given with its password or not at all.
func (b *Bridge) wakeSettings(s *snapshot) (groups []setting) {
	c := b.cfg.ConnectionRequest.Settings
	server := managementServer(s)
	if host, port, ok := address(c.STUNAddress); ok && len(s.rec.Key()) <= maxSTUNUsername {
		groups = append(groups,
			s.lacking(true, text(server+"STUNUsername", string(s.rec.Key())), text(server+"STUNPassword", b.STUNPassword(s.rec.Key()))),
			s.lacking(false, text(server+"STUNServerAddress", host), number(server+"STUNServerPort", port),
				number(server+"STUNMinimumKeepAlivePeriod", int(c.STUNMinKeepAlive.Seconds())),
				cwmp.ParameterValue{Name: server + "STUNMaximumKeepAlivePeriod", Value: cwmp.Value{Type: cwmp.TypeInt, Text: strconv.Itoa(int(c.STUNMaxKeepAlive.Seconds()))}},
				boolean(server+"STUNEnable")))
	}
	if host, port, ok := address(c.NotifyAddress); ok {
		groups = append(groups, s.lacking(false, text(server+"UDPLightweightNotificationHost", host), number(server+"UDPLightweightNotificationPort", port),
			text(server+"LightweightNotificationProtocolsUsed", "UDP")))
	}
	if c.XMPPJID != "" {
		groups = append(groups, s.lacking(false, text(server+"ConnReqAllowedJabberIDs", c.XMPPJID)))
		groups = append(groups, b.xmppSettings(s)...)
	}
	return slices.DeleteFunc(groups, func(g setting) bool { return len(g.values) == 0 })
}

// lacking returns the parameters that the CPE has and that have another value.
// A pair is whole or empty; its password reads as another always.
func (s *snapshot) lacking(pair bool, want ...cwmp.ParameterValue) setting {
	g := setting{pair: pair}
	for _, v := range want {
		now, has := writable(s.tree, v.Name)
		switch {
		case pair && !has:
			return setting{}
		case has && (pair || !sameValue(v.Value, now)):
			g.values = append(g.values, v)
		}
	}
	return g
}

// xmppSettings returns the account of a CPE on the XMPP server: its first
// XMPP.Connection, which it is told to use for connection requests, and that
// connection's first Server. A CPE without such rows keeps what it has: rows are
// for whoever set the CPE up to make.
func (b *Bridge) xmppSettings(s *snapshot) (groups []setting) {
	a := b.cfg.ConnectionRequest.Settings.XMPPDevice
	row, ok := s.firstRow("XMPP.Connection.{i}.", "XMPP.Connection.")
	if a.Username == "" || !ok {
		return nil
	}
	username := strings.NewReplacer("{oui}", s.rec.ID.OUI, "{product_class}", s.rec.ID.ProductClass, "{serial}", s.rec.ID.SerialNumber).Replace(a.Username)
	groups = []setting{s.lacking(true, text(row+"Username", strings.ToLower(username)), text(row+"Password", a.Password), text(row+"Domain", a.Domain))}
	if host, port, ok := address(a.Server); ok {
		groups = append(groups, s.lacking(false, text(row+"ServerConnectAlgorithm", "ServerTable"),
			text(row+"Server.1.ServerAddress", host), number(row+"Server.1.Port", port), boolean(row+"Server.1.Enable")))
	}
	return append(groups, s.lacking(false, boolean(row+"UseTLS"), boolean(row+"Enable")),
		s.lacking(false, text(managementServer(s)+"ConnReqXMPPConnection", strings.TrimSuffix(string(row), "."))))
}

// firstRow returns the path of a table's first row.
func (s *snapshot) firstRow(schema string, table cwmp.Path) (cwmp.Path, bool) {
	template := s.tree.Template()
	for i := range template.Tables {
		if template.Tables[i].Path != string(s.rec.Root)+schema {
			continue
		}
		if rows := s.tree.Rows(tree.TableID(i), dm.Instance{}); len(rows) > 0 {
			return s.rec.Root + table + cwmp.Path(strconv.FormatUint(uint64(rows[0]), 10)) + ".", true
		}
	}
	return "", false
}

// address splits host:port; ok is false for an empty one.
func address(text string) (host string, port int, ok bool) {
	host, p, err := net.SplitHostPort(text)
	if err != nil {
		return "", 0, false
	}
	port, err = strconv.Atoi(p)
	return host, port, err == nil
}

func text(name cwmp.Path, value string) cwmp.ParameterValue {
	return cwmp.ParameterValue{Name: name, Value: cwmp.Value{Type: cwmp.TypeString, Text: value}}
}

func number(name cwmp.Path, n int) cwmp.ParameterValue {
	return cwmp.ParameterValue{Name: name, Value: cwmp.Value{Type: cwmp.TypeUnsignedInt, Text: strconv.Itoa(n)}}
}

func boolean(name cwmp.Path) cwmp.ParameterValue {
	return cwmp.ParameterValue{Name: name, Value: cwmp.Value{Type: cwmp.TypeBoolean, Text: "1"}}
}

// sameValue reports whether a parameter has a value already. Passwords read as
// empty, so they are always another.
func sameValue(want cwmp.Value, now string) bool {
	if want.Type == cwmp.TypeBoolean {
		return isTrue(now) == isTrue(want.Text)
	}
	return now == want.Text
}
