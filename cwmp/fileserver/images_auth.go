package fileserver

import (
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/icholy/digest"
)

// authorization answers a server's challenges: Digest if it offers that, else
// Basic.
func authorization(w Image, challenges []string) (string, error) {
	u, err := url.Parse(w.URL)
	if err != nil {
		return "", err
	}
	basic := false
	for _, text := range challenges {
		if c, err := digest.ParseChallenge(text); err == nil {
			answer, err := digest.Digest(c, digest.Options{Method: http.MethodGet, URI: u.RequestURI(), Username: w.Username, Password: w.Password, Count: 1})
			if err != nil {
				return "", err
			}
			return answer.String(), nil
		}
		scheme, _, _ := strings.Cut(text, " ")
		basic = basic || strings.EqualFold(scheme, "Basic")
	}
	if !basic {
		return "", errors.New("the server asks for an authentication that is neither Digest nor Basic")
	}
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(w.Username+":"+w.Password)), nil
}
