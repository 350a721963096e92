// Package udp is the message of UDP Connection Requests (TR-069 Annex G.2.2.3):
// one datagram that looks like an HTTP GET, whose query carries when it was made,
// by whom, and a signature with the connection request password.
//
// It is a codec and opens no socket: the request has to leave from the address
// that the CPE sends its STUN Binding Requests to, or the NAT in between drops
// it, so package stun sends it. A CPE does not answer it; it opens a session or
// does nothing.
package udp

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
)

// MaxDatagram bounds a datagram, in bytes: a user name of 256 characters, every
// one of them escaped, fits twice.
const MaxDatagram = 2048

// Request is one UDP Connection Request. What is sent more than once, to make up
// for lost datagrams, is the very same Request: a CPE takes those with the same
// time and id for one (G.2.2.3).
type Request struct {
	Host     string // address and port that it is sent to
	Time     int64  // seconds since 1970; a CPE ignores what is not newer than the last
	ID       uint32 // of the message; differs from the last one's
	Username string // ManagementServer.ConnectionRequestUsername
	CNonce   string // random
}

// Append appends the datagram, signed with ConnectionRequestPassword.
func (r Request) Append(b []byte, password string) []byte {
	b = append(b, "GET http://"...)
	b = append(b, r.Host...)
	b = append(b, "?ts="...)
	b = strconv.AppendInt(b, r.Time, 10)
	b = append(b, "&id="...)
	b = strconv.AppendUint(b, uint64(r.ID), 10)
	b = append(b, "&un="...)
	b = append(b, url.QueryEscape(r.Username)...)
	b = append(b, "&cn="...)
	b = append(b, url.QueryEscape(r.CNonce)...)
	b = append(b, "&sig="...)
	b = append(b, strings.ToUpper(hex.EncodeToString(r.signature(password)))...)
	b = append(b, " HTTP/1.1\r\nHost: "...)
	b = append(b, r.Host...)
	return append(b, "\r\n\r\n"...)
}

// signature is HMAC-SHA1 with the password over time, id, user name and cnonce
// one after another.
func (r Request) signature(password string) []byte {
	mac := hmac.New(sha1.New, []byte(password))
	fmt.Fprintf(mac, "%d%d%s%s", r.Time, r.ID, r.Username, r.CNonce)
	return mac.Sum(nil)
}

// Received is a Request as it came in, with the signature it claims.
type Received struct {
	Request
	sig []byte
}

var errNotRequest = errors.New("not a UDP Connection Request")

// Parse reads a datagram. What it returns is not authenticated yet.
func Parse(b []byte) (Received, error) {
	if len(b) > MaxDatagram {
		return Received{}, fmt.Errorf("%w: %d bytes", errNotRequest, len(b))
	}
	line, _, _ := bytes.Cut(b, []byte("\r\n"))
	target, ok := bytes.CutPrefix(line, []byte("GET "))
	target, proto, hasProto := bytes.Cut(target, []byte(" "))
	if !ok || !hasProto || !bytes.HasPrefix(proto, []byte("HTTP/1.")) {
		return Received{}, errNotRequest
	}
	u, err := url.Parse(string(target))
	if err != nil {
		return Received{}, errNotRequest
	}
	q, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return Received{}, errNotRequest
	}
	r := Received{Request: Request{Host: u.Host, Username: q.Get("un"), CNonce: q.Get("cn")}}
	id, idErr := strconv.ParseUint(q.Get("id"), 10, 32)
	r.ID = uint32(id)
	r.Time, err = strconv.ParseInt(q.Get("ts"), 10, 64)
	var sigErr error
	r.sig, sigErr = hex.DecodeString(q.Get("sig"))
	if err := errors.Join(err, idErr, sigErr); err != nil {
		return Received{}, fmt.Errorf("%w: %w", errNotRequest, err)
	}
	return r, nil
}

// Signed reports whether the request was signed with the password.
func (r Received) Signed(password string) bool {
	return hmac.Equal(r.sig, r.signature(password))
}
