package console

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Credentials is what CPE authenticate with, as the console shows and changes it.
// All methods may be called concurrently and end with ctx.
type Credentials interface {
	// List returns credentials in a stable order, as Fleet.List does devices.
	List(ctx context.Context, q ListQuery) (list []CredentialSummary, next string, err error)
	// Apply adds credentials or replaces those of the same device, all or none,
	// durably.
	Apply(ctx context.Context, entries []Credential) (CredentialsApplied, error)
	Remove(ctx context.Context, device string) error
}

// ErrNoCredential is the failure of Remove that has a status of its own.
var ErrNoCredential = errors.New("there is no such credential; `uspbridge device credentials list` shows those that there are")

// Credential is what a device, or every device that a pattern covers, has to know.
type Credential struct {
	Device   string `json:"device"` // device key, with * and ? for any text and any character
	Username string `json:"username"`
	Password string `json:"password"`
}

// CredentialSummary is a credential in a list. There is no way to read a password.
type CredentialSummary struct {
	Device   string    `json:"device"`
	Username string    `json:"username"`
	Rule     bool      `json:"rule"` // it is for the devices that the pattern covers and that have none of their own
	Changed  time.Time `json:"changed"`
}

// CredentialsApplied counts what became of credentials.
type CredentialsApplied struct {
	Added   int `json:"added"`
	Changed int `json:"changed"`
	Same    int `json:"same"` // were there already
}

// CredentialList is the answer of GET /api/credentials.
type CredentialList struct {
	Credentials []CredentialSummary `json:"credentials"`
	Next        string              `json:"next,omitempty"` // give it as after to go on
}

// credentialBatch is the body of POST /api/credentials.
type credentialBatch struct {
	Credentials []Credential `json:"credentials"`
}

// MaxCredentials bounds what one request applies, in bytes of its body.
const MaxCredentials = maxBody - 1024

func (s *Server) apiCredentials(w http.ResponseWriter, r *http.Request) {
	list(s, w, r, s.cfg.Credentials.List, func(page []CredentialSummary, next string) any { return CredentialList{page, next} })
}

func (s *Server) apiApplyCredentials(w http.ResponseWriter, r *http.Request) {
	var batch credentialBatch
	if err := readBody(r, &batch, `{"credentials": [{"device": …, "username": …, "password": …}]}`); err != nil {
		s.fail(w, err)
		return
	}
	done, err := s.cfg.Credentials.Apply(r.Context(), batch.Credentials)
	s.answer(w, done, err)
}

func (s *Server) apiRemoveCredential(w http.ResponseWriter, r *http.Request) {
	s.done(w, s.cfg.Credentials.Remove(r.Context(), r.PathValue("device")))
}

// Credentials returns one page of credentials.
func (c *Client) Credentials(ctx context.Context, q ListQuery) (list CredentialList, err error) {
	return list, c.call(ctx, http.MethodGet, "/api/credentials?"+q.encode(), &list)
}

// ApplyCredentials adds or replaces credentials, all or none.
func (c *Client) ApplyCredentials(ctx context.Context, entries []Credential) (done CredentialsApplied, err error) {
	body, err := json.Marshal(credentialBatch{entries})
	if err != nil {
		return done, fmt.Errorf("credentials: %w", err)
	}
	return done, c.send(ctx, http.MethodPost, "/api/credentials", bytes.NewReader(body), &done)
}

// RemoveCredential removes the credential of exactly that device or pattern.
func (c *Client) RemoveCredential(ctx context.Context, device string) error {
	return c.call(ctx, http.MethodDelete, "/api/credentials/"+url.PathEscape(device), nil)
}

func (q ListQuery) encode() string {
	v := url.Values{}
	if q.Filter != "" {
		v.Set("filter", q.Filter)
	}
	if q.After != "" {
		v.Set("after", q.After)
	}
	if q.Limit > 0 {
		v.Set("limit", strconv.Itoa(q.Limit))
	}
	return v.Encode()
}
