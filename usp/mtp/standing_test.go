package mtp_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/uspbridge/uspbridge/usp/mtp"
)

func TestStanding(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := mtp.NewStanding(mtp.Settings{Inbox: "a"}, nil, true)
		settings, generation, leave, err := s.Begin(t.Context())
		if err != nil || settings.Inbox != "a" || !s.Fresh() {
			t.Fatalf("settings %+v, %v", settings, err)
		}
		leave()
		s.Change(mtp.Settings{Inbox: "b"})
		if err := s.Current(generation); !errors.Is(err, mtp.ErrChanged) {
			t.Errorf("a connection with settings that are not wanted any more: %v", err)
		}

		began := time.Now()
		s.Down(errors.New("refused"))
		<-time.After(time.Minute)
		s.Down(errors.New("refused again"))
		if c := s.Connection(); c.Up || c.LastError != "refused again" || !c.Since.Equal(began) || s.Fresh() {
			t.Errorf("%+v, fresh %v; want it down since the first refusal", c, s.Fresh())
		}
		s.Up(mtp.Connection{ClientID: "c"})
		if c := s.Connection(); !c.Up || c.LastError != "" || c.ClientID != "c" || !c.Since.Equal(time.Now()) {
			t.Errorf("%+v, want it up since now", c)
		}

		s.Change(mtp.Settings{Disabled: true})
		if _, _, _, err := s.Begin(t.Context()); !errors.Is(err, mtp.ErrDisabled) {
			t.Errorf("a connection that is not wanted: %v", err)
		}
	})
}
