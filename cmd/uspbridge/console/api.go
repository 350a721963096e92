package console

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
)

// The sizes of lists.
const (
	defaultLimit = 100
	maxLimit     = 1000
	maxText      = 1024 // of a filter or a path, in bytes
)

// DeviceList is the answer of GET /api/devices.
type DeviceList struct {
	Devices []DeviceSummary `json:"devices"`
	Next    string          `json:"next,omitempty"` // give it as after to go on
}

// AuditList is the answer of GET /api/devices/{endpoint}/audit.
type AuditList struct {
	Entries []AuditEntry `json:"entries"`
}

// apiError is the body of every failure.
type apiError struct {
	Error string `json:"error"`
}

func (s *Server) apiList(w http.ResponseWriter, r *http.Request) {
	list(s, w, r, s.cfg.Fleet.List, func(page []DeviceSummary, next string) any { return DeviceList{page, next} })
}

func (s *Server) apiShow(w http.ResponseWriter, r *http.Request) {
	d, err := s.cfg.Fleet.Show(r.Context(), r.PathValue("endpoint"))
	s.answer(w, d, err)
}

func (s *Server) apiRefresh(w http.ResponseWriter, r *http.Request) {
	endpoint := r.PathValue("endpoint")
	if err := s.cfg.Fleet.Refresh(r.Context(), endpoint); err != nil {
		s.fail(w, err)
		return
	}
	d, err := s.cfg.Fleet.Show(r.Context(), endpoint)
	s.answer(w, d, err)
}

func (s *Server) apiForget(w http.ResponseWriter, r *http.Request) {
	s.done(w, s.cfg.Fleet.Forget(r.Context(), r.PathValue("endpoint")))
}

func (s *Server) apiExplain(w http.ResponseWriter, r *http.Request) {
	path, err := pathQuery(r)
	if err != nil {
		s.fail(w, err)
		return
	}
	e, err := s.cfg.Fleet.Explain(r.Context(), r.PathValue("endpoint"), path)
	s.answer(w, e, err)
}

func (s *Server) apiCoverage(w http.ResponseWriter, r *http.Request) {
	report, err := s.cfg.Fleet.Coverage(r.Context(), r.PathValue("endpoint"))
	s.answer(w, report, err)
}

func (s *Server) apiAudit(w http.ResponseWriter, r *http.Request) {
	limit, err := limitQuery(r)
	if err != nil {
		s.fail(w, err)
		return
	}
	entries, err := s.cfg.Fleet.Audit(r.Context(), r.PathValue("endpoint"), limit)
	if entries == nil {
		entries = []AuditEntry{}
	}
	s.answer(w, AuditList{entries}, err)
}

// list answers with the page of a list that the request asks for, in the form that
// body gives it. An empty page is an empty list in JSON, not null.
func list[T any](s *Server, w http.ResponseWriter, r *http.Request,
	page func(context.Context, ListQuery) ([]T, string, error), body func(page []T, next string) any) {
	q, err := listQuery(r)
	if err != nil {
		s.fail(w, err)
		return
	}
	entries, next, err := page(r.Context(), q)
	if entries == nil {
		entries = []T{}
	}
	s.answer(w, body(entries, next), err)
}

func listQuery(r *http.Request) (ListQuery, error) {
	q := ListQuery{Filter: r.FormValue("filter"), After: r.FormValue("after")}
	var err error
	if q.Limit, err = limitQuery(r); err != nil {
		return q, err
	}
	if len(q.Filter) > maxText || len(q.After) > maxText {
		return q, fmt.Errorf("%w: filter and after may have %d bytes", ErrInvalid, maxText)
	}
	return q, nil
}

func limitQuery(r *http.Request) (int, error) {
	text := r.FormValue("limit")
	if text == "" {
		return defaultLimit, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > maxLimit {
		return 0, fmt.Errorf("%w: limit %.20q is not a number from 1 to %d", ErrInvalid, text, maxLimit)
	}
	return n, nil
}

func pathQuery(r *http.Request) (string, error) {
	path := r.FormValue("path")
	if path == "" || len(path) > maxText {
		return "", fmt.Errorf("%w: give a path of at most %d bytes", ErrInvalid, maxText)
	}
	return path, nil
}

// readBody decodes the body of a request into v. It fails for what v has no place
// for; want is the form to tell then.
func readBody(r *http.Request, v any, want string) error {
	dec := json.NewDecoder(r.Body)
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return fmt.Errorf("%w: want %s: %w", ErrInvalid, want, err)
	}
	return nil
}

func (s *Server) answer(w http.ResponseWriter, v any, err error) {
	if err != nil {
		s.fail(w, err)
		return
	}
	s.json(w, http.StatusOK, v)
}

// done answers a request that nothing is to be told of but err.
func (s *Server) done(w http.ResponseWriter, err error) {
	if err != nil {
		s.fail(w, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// fail answers with an error. It is logged only where the operator is not the
// one at fault.
func (s *Server) fail(w http.ResponseWriter, err error) {
	status := statusOf(err)
	if status == http.StatusInternalServerError {
		s.cfg.Log.Error("console request failed", "error", err)
	}
	s.json(w, status, apiError{err.Error()})
}

func statusOf(err error) int {
	switch {
	case errors.Is(err, ErrUnknownDevice), errors.Is(err, ErrNoCredential), errors.Is(err, ErrNoCertificate), errors.Is(err, ErrNoBrokerUser):
		return http.StatusNotFound
	case errors.Is(err, ErrInvalid):
		return http.StatusBadRequest
	case errors.Is(err, ErrBusy):
		return http.StatusServiceUnavailable
	case errors.Is(err, ErrNoAnswer), errors.Is(err, context.DeadlineExceeded):
		return http.StatusGatewayTimeout
	}
	return http.StatusInternalServerError
}

func (s *Server) json(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		s.cfg.Log.Error("console answer could not be encoded", "error", err)
		http.Error(w, "the answer could not be encoded", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if _, err := w.Write(append(b, '\n')); err != nil {
		s.cfg.Log.Debug("console client went away", "error", err)
	}
}
