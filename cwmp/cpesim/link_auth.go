package cpesim

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/icholy/digest"
)

// authentication is how a link proves who the CPE is: what the ACS has asked for,
// and what was answered.
type authentication struct {
	basic     bool
	challenge *digest.Challenge // nil: no digest
	count     int               // nc of the challenge
	answered  bool              // a challenge of this session has been answered
}

// authenticate chooses how the next request authenticates, from a 401.
func (l *link) authenticate(header http.Header) error {
	if l.username == "" {
		return errors.New("the ACS asks for authentication and the CPE has no ManagementServer.Username")
	}
	challenge, err := l.findChallenge(header)
	answered := l.auth.answered
	l.auth.answered = true
	switch {
	case err == nil && answered && !challenge.Stale, err != nil && l.auth.basic && answered:
		return errors.New("the ACS refuses ManagementServer.Username and Password (401)")
	case err == nil:
		l.auth.challenge, l.auth.count, l.auth.basic = challenge, 0, false
	case strings.HasPrefix(strings.ToLower(header.Get("WWW-Authenticate")), "basic"):
		l.auth.basic = true
	default:
		return fmt.Errorf("the ACS asks for authentication that is neither Basic nor Digest: %.80q", header.Get("WWW-Authenticate"))
	}
	return nil
}

// findChallenge returns the first digest challenge that the CPE understands.
func (l *link) findChallenge(header http.Header) (*digest.Challenge, error) {
	if l.profile.OnlyMD5 {
		only := http.Header{}
		for _, h := range header.Values("WWW-Authenticate") {
			if c, err := digest.ParseChallenge(h); err == nil && strings.EqualFold(c.Algorithm, "MD5") {
				only.Add("WWW-Authenticate", h)
			}
		}
		header = only
	}
	return digest.FindChallenge(header)
}

// authorization appends the Authorization header that the ACS has asked for, or
// that the CPE sends unasked.
func (l *link) authorization(b []byte) ([]byte, error) {
	switch {
	case l.auth.challenge != nil:
		credentials, err := l.digest()
		if err != nil {
			return nil, fmt.Errorf("authentication: %w", err)
		}
		b = append(append(b, "Authorization: "...), credentials...)
	case l.auth.basic, l.profile.PreemptiveBasic && l.username != "":
		b = append(b, "Authorization: Basic "...)
		b = base64.StdEncoding.AppendEncode(b, []byte(l.username+":"+l.password))
	case l.profile.EmptyBasicFirst:
		b = append(b, "Authorization: Basic Og=="...)
	default:
		return b, nil
	}
	return append(b, "\r\n"...), nil
}

// digest answers the challenge, with the habits of the CPE's profile.
func (l *link) digest() (string, error) {
	if l.auth.count++; l.profile.NonceCountStuck {
		l.auth.count = 1
	}
	challenge := *l.auth.challenge
	if l.profile.NoQOP {
		challenge.QOP = nil
	}
	credentials, err := digest.Digest(&challenge, digest.Options{Method: http.MethodPost, URI: l.target.RequestURI(),
		Count: l.auth.count, Username: l.username, Password: l.password})
	if err != nil {
		return "", err
	}
	switch l.profile.AlgorithmSpelling {
	case "":
	case "-":
		credentials.Algorithm = ""
	default:
		credentials.Algorithm = l.profile.AlgorithmSpelling
	}
	return credentials.String(), nil
}
