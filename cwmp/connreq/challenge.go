package connreq

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/uspbridge/uspbridge/cwmp/acs/digest"
)

// authorization answers a challenge. Of several it takes the strongest: digest
// with SHA-256, digest with MD5, basic. stale says that the credentials of the
// last try were right but its nonce too old.
func authorization(challenges []string, uri, username, password string) (header string, stale bool, err error) {
	best, rank := digest.Scheme{}, 0
	for _, line := range challenges {
		for _, s := range digest.Parse(line) {
			if r := strength(s); r > rank {
				best, rank = s, r
			}
		}
	}
	switch {
	case rank == 0:
		return "", false, errors.New("the CPE asks for an authentication that is neither digest (MD5, SHA-256; qop auth) nor basic")
	case username == "" && password == "":
		return "", false, errors.New("the CPE asks for credentials and none are configured or set on it")
	case best.Name == "basic":
		return "Basic " + base64.StdEncoding.EncodeToString([]byte(username+":"+password)), false, nil
	}
	return digestAnswer(best.Params, uri, username, password), strings.EqualFold(best.Params["stale"], "true"), nil
}

func strength(s digest.Scheme) int {
	algorithm, known := digest.ParseAlgorithm(s.Params["algorithm"])
	switch {
	case s.Name == "basic":
		return 1
	case s.Name != "digest" || !known:
		return 0
	case s.Params["qop"] != "" && !offersAuth(s.Params["qop"]):
		return 0
	case algorithm.Base() == digest.MD5:
		return 2
	}
	return 3
}

func offersAuth(qop string) bool {
	for q := range strings.SplitSeq(qop, ",") {
		if strings.EqualFold(strings.TrimSpace(q), "auth") {
			return true
		}
	}
	return false
}

// digestAnswer is strict where the challenge was complete and leaves out what
// it left out: qop, opaque, algorithm.
func digestAnswer(p map[string]string, uri, username, password string) string {
	algorithm, _ := digest.ParseAlgorithm(p["algorithm"]) // known: strength has seen it
	e := digest.Exchange{Algorithm: algorithm, Username: username, Password: password,
		Realm: p["realm"], Nonce: p["nonce"], Method: http.MethodGet, URI: uri}
	if p["qop"] != "" || algorithm != algorithm.Base() {
		e.NonceCount, e.ClientN = "00000001", clientNonce()
	}
	if p["qop"] != "" {
		e.QOP = "auth"
	}
	var opaque *string
	if o, given := p["opaque"]; given {
		opaque = &o
	}
	_, named := p["algorithm"]
	return e.Authorization(opaque, named)
}

func clientNonce() string {
	b := make([]byte, 12)
	rand.Read(b)
	return hex.EncodeToString(b)
}

// release ends an answer. A challenge's body is read, so that its connection can
// be used for the next request, if its length is known and below limit; else
// the connection is closed, since waiting for the end of such a body can take
// for ever.
func release(resp *http.Response, limit int64) error {
	if resp.StatusCode >= 400 && resp.ContentLength > 0 && resp.ContentLength <= limit {
		//nolint:errcheck // a body that breaks off costs the connection, not the answer
		_, _ = io.CopyN(io.Discard, resp.Body, limit)
	}
	if err := resp.Body.Close(); err != nil {
		return fmt.Errorf("close the answer: %w", err)
	}
	return nil
}
