package console

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"
)

// Certificates is who agents are, as the console shows it and an operator has a
// hand in it. All methods may be called concurrently and end with ctx.
type Certificates interface {
	// List returns certificates in a stable order, as Fleet.List does devices.
	List(ctx context.Context, q ListQuery) (list []CertificateSummary, next string, err error)
	Show(ctx context.Context, agent string) (Certificate, error)
	// Issue makes an agent's certificate now that would be made when it is first
	// needed, and returns it.
	Issue(ctx context.Context, agent string) (Certificate, error)
	// Request returns an agent with its request for an operator's CA to sign.
	Request(ctx context.Context, agent string) (Certificate, error)
	// Import takes a signed certificate in, in PEM form with the chain above it,
	// and returns it as the agent's.
	Import(ctx context.Context, pem string) (Certificate, error)
	Revoke(ctx context.Context, agent string) (CertificateRevoked, error)
	// Authority returns the CA of the bridge.
	Authority(ctx context.Context) (Authority, error)
}

// ErrNoCertificate is the failure for an agent without a certificate.
var ErrNoCertificate = errors.New("the agent has no certificate; `uspbridge certificate list` shows those that there are")

// CertificateSummary is an agent's certificate in a list, and whether a request
// waits to be signed. Without a certificate the fields about it are empty.
type CertificateSummary struct {
	Agent       string    `json:"agent"`
	Serial      string    `json:"serial,omitempty"` // hexadecimal
	Issuer      string    `json:"issuer,omitempty"`
	NotBefore   time.Time `json:"not_before,omitzero"`
	NotAfter    time.Time `json:"not_after,omitzero"`
	Fingerprint string    `json:"fingerprint,omitempty"` // SHA-256, hexadecimal
	Waiting     bool      `json:"waiting"`
	Since       time.Time `json:"since,omitzero"` // the certificate, or without one the request, was made
}

// Certificate is an agent's certificate with its chain, and the request that waits
// to be signed, in PEM form. The key is shown nowhere.
type Certificate struct {
	CertificateSummary
	Chain   string `json:"chain,omitempty"`
	Request string `json:"request,omitempty"`
}

// CertificateRevoked says what became of a certificate. Listed is false for one that
// was not issued here: it is for those to revoke who have.
type CertificateRevoked struct {
	Agent  string `json:"agent"`
	Serial string `json:"serial,omitempty"`
	Listed bool   `json:"listed"`
}

// Authority is the CA that issues the certificates of agents, in PEM form: the
// certificate that controllers have to trust, and the list of what was revoked.
type Authority struct {
	Root string `json:"root"`
	CRL  string `json:"crl"`
}

// CertificateList is the answer of GET /api/certificates.
type CertificateList struct {
	Certificates []CertificateSummary `json:"certificates"`
	Next         string               `json:"next,omitempty"` // give it as after to go on
}

// certificateFile is the body of POST /api/certificates.
type certificateFile struct {
	PEM string `json:"pem"`
}

// MaxCertificate bounds a certificate with its chain, in bytes of PEM.
const MaxCertificate = maxBody / 2

func (s *Server) apiCertificates(w http.ResponseWriter, r *http.Request) {
	list(s, w, r, s.cfg.Certificates.List, func(page []CertificateSummary, next string) any { return CertificateList{page, next} })
}

func (s *Server) apiCertificate(w http.ResponseWriter, r *http.Request) {
	c, err := s.cfg.Certificates.Show(r.Context(), r.PathValue("agent"))
	s.answer(w, c, err)
}

func (s *Server) apiIssueCertificate(w http.ResponseWriter, r *http.Request) {
	c, err := s.cfg.Certificates.Issue(r.Context(), r.PathValue("agent"))
	s.answer(w, c, err)
}

func (s *Server) apiRequestCertificate(w http.ResponseWriter, r *http.Request) {
	c, err := s.cfg.Certificates.Request(r.Context(), r.PathValue("agent"))
	s.answer(w, c, err)
}

func (s *Server) apiImportCertificate(w http.ResponseWriter, r *http.Request) {
	var file certificateFile
	if err := readBody(r, &file, `{"pem": …}`); err != nil {
		s.fail(w, err)
		return
	}
	c, err := s.cfg.Certificates.Import(r.Context(), file.PEM)
	s.answer(w, c, err)
}

func (s *Server) apiRevokeCertificate(w http.ResponseWriter, r *http.Request) {
	done, err := s.cfg.Certificates.Revoke(r.Context(), r.PathValue("agent"))
	s.answer(w, done, err)
}

func (s *Server) apiAuthority(w http.ResponseWriter, r *http.Request) {
	a, err := s.cfg.Certificates.Authority(r.Context())
	s.answer(w, a, err)
}

// Certificates returns one page of agents' certificates.
func (c *Client) Certificates(ctx context.Context, q ListQuery) (list CertificateList, err error) {
	return list, c.call(ctx, http.MethodGet, "/api/certificates?"+q.encode(), &list)
}

// Certificate returns an agent's certificate.
func (c *Client) Certificate(ctx context.Context, agent string) (cert Certificate, err error) {
	return cert, c.call(ctx, http.MethodGet, certificatePath(agent), &cert)
}

// IssueCertificate makes an agent's certificate now.
func (c *Client) IssueCertificate(ctx context.Context, agent string) (cert Certificate, err error) {
	return cert, c.call(ctx, http.MethodPost, certificatePath(agent)+"/issue", &cert)
}

// RequestCertificate returns an agent's request to be signed.
func (c *Client) RequestCertificate(ctx context.Context, agent string) (cert Certificate, err error) {
	return cert, c.call(ctx, http.MethodPost, certificatePath(agent)+"/request", &cert)
}

// ImportCertificate takes a signed certificate in.
func (c *Client) ImportCertificate(ctx context.Context, pem string) (cert Certificate, err error) {
	body, err := json.Marshal(certificateFile{pem})
	if err != nil {
		return cert, fmt.Errorf("certificate: %w", err)
	}
	return cert, c.send(ctx, http.MethodPost, "/api/certificates", bytes.NewReader(body), &cert)
}

// RevokeCertificate ends the use of an agent's certificate.
func (c *Client) RevokeCertificate(ctx context.Context, agent string) (done CertificateRevoked, err error) {
	return done, c.call(ctx, http.MethodDelete, certificatePath(agent), &done)
}

// Authority returns the CA of the bridge.
func (c *Client) Authority(ctx context.Context) (a Authority, err error) {
	return a, c.call(ctx, http.MethodGet, "/api/authority", &a)
}

func certificatePath(agent string) string { return "/api/certificates/" + url.PathEscape(agent) }
