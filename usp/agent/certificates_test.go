package agent

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"

	"github.com/uspbridge/uspbridge/usp"
)

// certificatePEM is a certificate of which openssl tells what is expected below.
const certificatePEM = `-----BEGIN CERTIFICATE-----
MIIBpzCCAU2gAwIBAgIEChssPTAKBggqhkjOPQQDAjAwMRYwFAYDVQQKDA1FeGFt
cGxlLCBJbmMuMRYwFAYDVQQDDA1Db250cm9sbGVyIENBMCAXDTI2MTEyNTAwNDMy
M1oYDzIxMjYxMTAxMDA0MzIzWjAwMRYwFAYDVQQKDA1FeGFtcGxlLCBJbmMuMRYw
FAYDVQQDDA1Db250cm9sbGVyIENBMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE
TGek4/xt4jFnHajO7eJpOd9TFCANYEY0QPCTSG02oqPt74BqI+ZcLvJYogMJIHgH
o/dbPslibEY0kIvt/Rgcw6NTMFEwHQYDVR0OBBYEFOAuPXoBxTlB0BMBlDKpIK8G
+vNFMB8GA1UdIwQYMBaAFOAuPXoBxTlB0BMBlDKpIK8G+vNFMA8GA1UdEwEB/wQF
MAMBAf8wCgYIKoZIzj0EAwIDSAAwRQIgK0lAC0WeSLplXX38nI1WHzHuSXs6vPY8
olbsGCjWwfYCIQCBtz7LGaUSFZgjn6molSE/4IoHw8tcJ3n7zCSCkbxu0A==
-----END CERTIFICATE-----
`

const certificateRows = "Device.LocalAgent.Certificate."

// operate runs a command for the first controller and returns its output
// arguments, or the error code.
func (b *bench) operate(from usp.EndpointID, command string, args map[string]string) (map[string]string, uint32) {
	b.t.Helper()
	body := b.ask(from, operateReq(command, "", true, args))
	res := body.GetResponse().GetOperateResp().GetOperationResults()
	if len(res) != 1 {
		return nil, body.GetError().GetErrCode()
	}
	return res[0].GetReqOutputArgs().GetOutputArgs(), res[0].GetCmdFailure().GetErrCode()
}

// otherCertificate makes a certificate of a serial number and an issuer.
func otherCertificate(t testing.TB, serial *big.Int, issuer string) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: serial, Subject: pkix.Name{CommonName: issuer}}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

func TestCertificates(t *testing.T) {
	b := newBench(t)
	if _, code := b.operate(primary, "Device.LocalAgent.AddCertificate()", map[string]string{"Alias": "ca", "Certificate": certificatePEM}); code != 0 {
		t.Fatalf("AddCertificate: %d", code)
	}
	row := certificateRows + "[Alias==\"ca\"]."
	want := map[string]string{"Enable": "true", "SerialNumber": "0a:1b:2c:3d", "Issuer": `CN=Controller CA,O=Example\, Inc.`, "Alias": "ca"}
	check := func() {
		t.Helper()
		for name, v := range want {
			if got := b.value(row + name); got != v {
				t.Errorf("%s is %q, want %q", name, got, v)
			}
		}
		if got := b.value("Device.LocalAgent.CertificateNumberOfEntries"); got != "1" {
			t.Errorf("%s entries", got)
		}
	}
	check()
	if got := b.seenBy(primary, row); strings.Contains(got, derParam) {
		t.Errorf("the row shows what is no parameter: %s", got)
	}
	b.restart()
	check()
	for algorithm, sum := range map[string]string{
		"SHA-1":   "9E3251FCBE9797D169808C6E3F6C0549D16C75BC",
		"SHA-224": "863F451843A9883A5248408FEDB10B19F89E015FDB953FE28D2EB951",
		"SHA-256": "C20F8CEF47C8A9C27284DE728DEFAB3A6724C3D54773FAE33797DCF2BAD46C4E",
		"SHA-384": "D470743B66203C465902480ECC965703B42B7773033541E4BC6AFDEBEC2199B37696E49D5F1D5AECB4598393A0A6016C",
		"SHA-512": "8ACF15DB13829A470683C81702B06651B182707F351B42994A1BCAEA7087F112D9763ECA8BEFF082FA8523D291E5B841444ADB03E610436D2D1E038FEF14487C",
	} {
		if out, code := b.operate(primary, row+"GetFingerprint()", map[string]string{"FingerprintAlgorithm": algorithm}); out["Fingerprint"] != sum {
			t.Errorf("%s: %v, error %d", algorithm, out, code)
		}
	}
	if got := b.value("Device.LocalAgent.SupportedFingerprintAlgorithms"); got != "SHA-1,SHA-224,SHA-256,SHA-384,SHA-512" {
		t.Errorf("SupportedFingerprintAlgorithms %q", got)
	}
	if _, code := b.operate(primary, row+"GetFingerprint()", map[string]string{"FingerprintAlgorithm": "MD5"}); code != 7027 {
		t.Errorf("MD5: error %d", code)
	}
	// The table is changed by commands alone.
	wantError(t, b.ask(primary, addReq(false, create(certificateRows))), 7019, certificateRows)
	if code := b.ask(primary, deleteReq(false, row)).GetError().GetErrCode(); code != 7024 {
		t.Errorf("Delete message: error %d", code)
	}
	if _, code := b.operate(primary, row+"Delete()", nil); code != 0 {
		t.Errorf("Delete(): error %d", code)
	}
	if got := b.value(row + "Issuer"); got != "!7026" {
		t.Errorf("deleted, and still %s", got)
	}
}

// What AddCertificate() does not take.
func TestCertificatesRefused(t *testing.T) {
	b := newBench(t, func(c *Config) { c.Limits.Rows = 2 })
	add := func(alias, text string) uint32 {
		_, code := b.operate(primary, "Device.LocalAgent.AddCertificate()", map[string]string{"Alias": alias, "Certificate": text})
		return code
	}
	if code := add("ca", certificatePEM); code != 0 {
		t.Fatalf("error %d", code)
	}
	key := string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("k")}))
	for _, tc := range []struct {
		name, alias, text string
		want              uint32
	}{
		{"no PEM", "a", "MIIBpz", 7027},
		{"nothing", "a", "", 7027},
		{"private key", "a", key, 7027},
		{"private key behind it", "a", certificatePEM + key, 7027},
		{"two certificates", "a", certificatePEM + certificatePEM, 7027},
		{"no certificate in it", "a", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", 7027},
		{"too long", "a", certificatePEM + strings.Repeat("\n", maxCertificate), 7027},
		{"there already", "a", certificatePEM, 7022},
		{"alias that is taken", "ca", otherCertificate(t, big.NewInt(7), "x"), 7022},
		{"no alias", "7", otherCertificate(t, big.NewInt(8), "x"), 7027},
		{"issuer of a novel's length", "a", otherCertificate(t, big.NewInt(9), strings.Repeat("x", 300)), 7027},
		{"one more", "b", otherCertificate(t, big.NewInt(10), "x"), 0},
		{"one too many", "c", otherCertificate(t, big.NewInt(11), "x"), 7005},
	} {
		if got := add(tc.alias, tc.text); got != tc.want {
			t.Errorf("%s: error %d, want %d", tc.name, got, tc.want)
		}
	}
	if _, code := b.operate(primary, "Device.LocalAgent.AddCertificate()", nil); code != 7027 {
		t.Errorf("without an argument: error %d", code)
	}
}

// A controller's certificate is kept once, and referred to by its row; what is
// deleted is referred to no more.
func TestAddMyCertificate(t *testing.T) {
	b := newBench(t)
	b.allow("Device.LocalAgent.Controller.2.AddMyCertificate()", "----", "----", "----", "--x-")
	const controller = "Device.LocalAgent.Controller.2."
	args := map[string]string{"Certificate": certificatePEM}
	if _, code := b.operate(secondary, "Device.LocalAgent.Controller.1.AddMyCertificate()", args); code != 7026 {
		t.Errorf("another controller's: error %d", code)
	}
	for range 2 {
		if _, code := b.operate(secondary, controller+"AddMyCertificate()", args); code != 0 {
			t.Fatalf("error %d", code)
		}
	}
	ref := b.value(controller + "Credential")
	if !strings.HasPrefix(ref, certificateRows) || strings.Contains(ref, ",") {
		t.Fatalf("Credential %q", ref)
	}
	const trust = "Device.LocalAgent.ControllerTrust.Credential."
	wantError(t, b.ask(primary, addReq(false, create(trust))), 7021, trust+"Credential")
	entry := b.added(primary, create(trust, kv{"Credential", ref + ".", true}, kv{"Role", rolePath(untrustedRole), true}))
	if _, code := b.operate(primary, "Device.LocalAgent.AddCertificate()", map[string]string{"Certificate": otherCertificate(t, big.NewInt(5), "x")}); code != 0 {
		t.Fatalf("error %d", code)
	}
	other := b.added(primary, create(trust, kv{"Credential", certificateRows + "102", true}))
	wantError(t, b.ask(primary, addReq(false, create(trust, kv{"Credential", ref, true}))), 7025, trust+"Credential")
	wantError(t, b.ask(primary, addReq(false, create(trust, kv{"Credential", certificateRows + "99", true}))), 7021, trust+"Credential")
	if got := b.value(entry + "Credential"); got != ref {
		t.Errorf("the reference is written %q", got)
	}
	if _, code := b.operate(primary, ref+".Delete()", nil); code != 0 {
		t.Fatalf("Delete(): error %d", code)
	}
	for _, p := range []string{controller + "Credential", entry + "Credential"} {
		if got := b.value(p); got != "" {
			t.Errorf("%s still is %q", p, got)
		}
	}
	// Two entries about nothing do not stand in each other's way.
	if _, code := b.operate(primary, certificateRows+"102.Delete()", nil); code != 0 {
		t.Fatalf("Delete(): error %d", code)
	}
	if body := b.ask(primary, setReq(false, update(other, kv{"Enable", "true", true}), update(entry, kv{"Enable", "true", true}))); failure(body) != "ok" {
		t.Errorf("Set: %v", body)
	}
}

// FuzzCertificate: whatever is taken as a certificate has a row that its data
// model allows.
func FuzzCertificate(f *testing.F) {
	f.Add(certificatePEM)
	f.Add(certificatePEM + certificatePEM)
	f.Add("-----BEGIN CERTIFICATE-----\n\n-----END CERTIFICATE-----")
	b := newBench(f)
	f.Fuzz(func(t *testing.T, text string) {
		c, err := parseCertificate(text)
		if err != nil {
			return
		}
		a, err := b.host.agents.acquire(t.Context(), testAgent)
		if err != nil {
			t.Fatal(err)
		}
		defer b.host.agents.release(a)
		tx := b.host.begin(a, nil, nil)
		k, err := tx.keepCertificate(c, "")
		if err != nil {
			return
		}
		if s := tx.next.named(k, "SerialNumber"); len(s) > maxSerial || strings.Trim(s, "0123456789abcdef:") != "" {
			t.Errorf("serial number %q", s)
		}
		if again, there := tx.certificateRow(c); !there || again != k {
			t.Error("the row is not found again")
		}
	})
}
