package translate

import (
	"bytes"
	"testing"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/store/seal"
)

// TestPasswordAtRest: a device's record does not show the password of connection
// requests, and gives it back after a restart.
func TestPasswordAtRest(t *testing.T) {
	box := seal.Random()
	rec := &Record{ID: cwmp.DeviceID{OUI: "00259E", SerialNumber: "1"}, Username: "acs"}
	rec.setPassword(box, "battery staple")
	sealed := rec.Secret
	rec.setPassword(box, "battery staple")
	if !bytes.Equal(rec.Secret, sealed) {
		t.Error("an unchanged password was sealed again")
	}
	blob := rec.encode()
	if bytes.Contains(blob, []byte("battery")) {
		t.Errorf("the record shows the password: %s", blob)
	}
	got, err := decodeRecord(blob)
	if err != nil {
		t.Fatal(err)
	}
	if err := got.checkPassword(box); err != nil {
		t.Fatal(err)
	}
	if p, err := got.password(box); err != nil || p != "battery staple" {
		t.Errorf("password %q, %v", p, err)
	}
}

// TestOldRecord: the plain password of an older version is sealed when it is read.
func TestOldRecord(t *testing.T) {
	box := seal.Random()
	rec, err := decodeRecord([]byte(`{"id":{"OUI":"00259E","SerialNumber":"1"},"cr_username":"acs","cr_password":"battery staple"}`))
	if err != nil {
		t.Fatal(err)
	}
	if err := rec.checkPassword(box); err != nil {
		t.Fatal(err)
	}
	if blob := rec.encode(); bytes.Contains(blob, []byte("battery")) {
		t.Errorf("the record still shows the password: %s", blob)
	}
	if p, err := rec.password(box); err != nil || p != "battery staple" {
		t.Errorf("password %q, %v", p, err)
	}
}

// TestLostKey: a password that cannot be opened any more is dropped, with all that
// keeps the CPE from being given a new one.
func TestLostKey(t *testing.T) {
	rec := &Record{ID: cwmp.DeviceID{OUI: "00259E", SerialNumber: "1"}, Username: "acs", Provisioned: "1234"}
	rec.setPassword(seal.Random(), "battery staple")
	if err := rec.checkPassword(seal.Random()); err == nil {
		t.Error("a password sealed with another key was opened")
	}
	if rec.Username != "" || rec.Secret != nil || rec.Provisioned != "" {
		t.Errorf("left: %+v", rec)
	}
}
