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

// BrokerUsers are what endpoints log in to the embedded broker with, as the console
// shows and changes it. All methods may be called concurrently and end with ctx.
type BrokerUsers interface {
	// List returns users in the order of their names, as Fleet.List does devices.
	List(ctx context.Context, q ListQuery) (list []BrokerUser, next string, err error)
	// Put adds a user or replaces that of the same name, durably. Who is logged in
	// by that name is cut off. The warning tells what the operator may not have meant,
	// "" if there is nothing.
	Put(ctx context.Context, username, endpoint, password string) (warning string, err error)
	Remove(ctx context.Context, username string) error
}

// ErrNoBrokerUser is the failure of Remove that has a status of its own.
var ErrNoBrokerUser = errors.New("there is no such user; `uspbridge broker user list` shows those that there are")

// BrokerUser is a user in a list. There is no way to read a password.
type BrokerUser struct {
	Username string    `json:"username"`
	Endpoint string    `json:"endpoint"`
	Changed  time.Time `json:"changed"`
}

// BrokerUserPut is the answer of POST /api/broker/users, if there is any.
type BrokerUserPut struct {
	Warning string `json:"warning,omitempty"`
}

// BrokerUserList is the answer of GET /api/broker/users.
type BrokerUserList struct {
	Users []BrokerUser `json:"users"`
	Next  string       `json:"next,omitempty"` // give it as after to go on
}

// brokerLogin is the body of POST /api/broker/users.
type brokerLogin struct {
	Username string `json:"username"`
	Endpoint string `json:"endpoint"`
	Password string `json:"password"`
}

// brokerRoutes adds the routes of the broker, if there is one.
func (s *Server) brokerRoutes(mux *http.ServeMux) {
	if s.cfg.BrokerUsers != nil {
		mux.HandleFunc("GET /api/broker/users", s.apiBrokerUsers)
		mux.HandleFunc("POST /api/broker/users", s.apiPutBrokerUser)
		mux.HandleFunc("DELETE /api/broker/users/{username}", s.apiRemoveBrokerUser)
		return
	}
	mux.HandleFunc("/api/broker/", func(w http.ResponseWriter, _ *http.Request) { s.fail(w, ErrNoBroker) })
}

// ErrNoBroker is the failure of all that is for the embedded broker, where it is off.
var ErrNoBroker = fmt.Errorf("%w: the embedded broker is off; set usp.broker.listen to have it", ErrInvalid)

func (s *Server) apiBrokerUsers(w http.ResponseWriter, r *http.Request) {
	list(s, w, r, s.cfg.BrokerUsers.List, func(page []BrokerUser, next string) any { return BrokerUserList{page, next} })
}

func (s *Server) apiPutBrokerUser(w http.ResponseWriter, r *http.Request) {
	var l brokerLogin
	if err := readBody(r, &l, `{"username": …, "endpoint": …, "password": …}`); err != nil {
		s.fail(w, err)
		return
	}
	warning, err := s.cfg.BrokerUsers.Put(r.Context(), l.Username, l.Endpoint, l.Password)
	if err != nil || warning == "" {
		s.done(w, err)
		return
	}
	s.answer(w, BrokerUserPut{warning}, nil)
}

func (s *Server) apiRemoveBrokerUser(w http.ResponseWriter, r *http.Request) {
	s.done(w, s.cfg.BrokerUsers.Remove(r.Context(), r.PathValue("username")))
}

// BrokerUsers returns one page of users.
func (c *Client) BrokerUsers(ctx context.Context, q ListQuery) (list BrokerUserList, err error) {
	return list, c.call(ctx, http.MethodGet, "/api/broker/users?"+q.encode(), &list)
}

// PutBrokerUser adds or replaces a user.
func (c *Client) PutBrokerUser(ctx context.Context, username, endpoint, password string) (put BrokerUserPut, err error) {
	body, err := json.Marshal(brokerLogin{username, endpoint, password})
	if err != nil {
		return put, fmt.Errorf("user of the broker: %w", err)
	}
	return put, c.send(ctx, http.MethodPost, "/api/broker/users", bytes.NewReader(body), &put)
}

// RemoveBrokerUser removes a user.
func (c *Client) RemoveBrokerUser(ctx context.Context, username string) error {
	return c.call(ctx, http.MethodDelete, "/api/broker/users/"+url.PathEscape(username), nil)
}
