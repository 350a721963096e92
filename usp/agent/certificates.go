package agent

import (
	"crypto"
	_ "crypto/sha1"   // of the algorithms of fingerprints
	_ "crypto/sha256" //
	_ "crypto/sha512" //
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/uspbridge/uspbridge/store"
	"github.com/uspbridge/uspbridge/usp"
	"github.com/uspbridge/uspbridge/usp/dm"
)

// Bounds of what a certificate may be, from the data model.
const (
	maxCertificate = 65535 // bytes of the Certificate argument
	maxSerial      = 64    // characters of SerialNumber
	maxIssuer      = 256   // characters of Issuer
)

// derParam has a certificate itself, which the data model does not show.
const derParam = "DER"

// certificateObjects are the certificates of controllers and of who vouches for
// them. A row gives nobody any right: that is for what refers to it.
func certificateObjects() []objectDecl {
	return []objectDecl{{
		path: certificateTable, kind: store.AgentState,
		unique: [][]string{{"SerialNumber", "Issuer"}}, fixed: [][]string{{"Alias"}},
		params: []paramDecl{
			alias(), boolean("Enable", "true"),
			{name: "SerialNumber", typ: dm.TypeString, check: size(0, maxSerial)},
			{name: "Issuer", typ: dm.TypeString, check: size(0, maxIssuer)},
			{name: derParam, typ: dm.TypeBase64, hidden: true},
		},
		commands: []commandDecl{
			{name: "Delete()", run: deleteCertificate},
			{name: "GetFingerprint()", in: []string{"FingerprintAlgorithm"}, out: []string{"Fingerprint"}, required: []string{"FingerprintAlgorithm"}, run: getFingerprint},
		},
	}}
}

// parseCertificate reads the Certificate argument: one certificate in PEM form.
func parseCertificate(text string) (*x509.Certificate, error) {
	if len(text) > maxCertificate {
		return nil, fmt.Errorf("%d bytes are too long, at most %d are taken", len(text), maxCertificate)
	}
	block, rest := pem.Decode([]byte(text))
	switch {
	case block == nil:
		return nil, errors.New("no certificate in PEM form")
	case block.Type != "CERTIFICATE":
		return nil, fmt.Errorf("a PEM block %q, want CERTIFICATE", shorten(block.Type))
	case strings.TrimSpace(string(rest)) != "":
		return nil, errors.New("something comes behind the certificate; add one certificate at a time")
	}
	return x509.ParseCertificate(block.Bytes)
}

// serialNumber writes a serial number byte by byte: 0a:1b:…
func serialNumber(c *x509.Certificate) string {
	return strings.ReplaceAll(fmt.Sprintf("% x", c.SerialNumber.Bytes()), " ", ":")
}

// addCertificate is Device.LocalAgent.AddCertificate().
func addCertificate(o *operation, call Call) (map[string]string, error) {
	c, err := parseCertificate(call.Args["Certificate"])
	if err != nil {
		return nil, usp.Errorf(usp.ErrInvalidCommandArguments, "", "Certificate: %w", err)
	}
	_, err = o.tx.keepCertificate(c, call.Args["Alias"])
	return nil, err
}

// addMyCertificate is Device.LocalAgent.Controller.{i}.AddMyCertificate(): the
// certificate is one by which that controller is known. It may be there already.
func addMyCertificate(o *operation, call Call) (map[string]string, error) {
	c, err := parseCertificate(call.Args["Certificate"])
	if err != nil {
		return nil, usp.Errorf(usp.ErrInvalidCommandArguments, "", "Certificate: %w", err)
	}
	row, there := o.tx.certificateRow(c)
	if !there {
		if row, err = o.tx.keepCertificate(c, call.Args["Alias"]); err != nil {
			return nil, err
		}
	}
	controller := rowKey{o.host.classes.controller, call.Command.Inst}
	credentials := splitList(o.tx.next.named(controller, "Credential"))
	if ref := reference(row.class, row.inst.Last()); !slices.Contains(credentials, ref) {
		o.tx.write(controller, "Credential", strings.Join(append(credentials, ref), ","))
	}
	return nil, nil
}

// certificateRow finds the row of a certificate.
func (tx *txn) certificateRow(c *x509.Certificate) (rowKey, bool) {
	class := tx.host.spec.classAt(certificateTable)
	der := base64.StdEncoding.EncodeToString(c.Raw)
	for k, r := range tx.next.rows {
		if k.class == class && r.values[class.byName[derParam].index] == der {
			return k, true
		}
	}
	return rowKey{}, false
}

// keepCertificate adds the row of a certificate.
func (tx *txn) keepCertificate(c *x509.Certificate, alias string) (rowKey, error) {
	class := tx.host.spec.classAt(certificateTable)
	n := NewRow{Table: dm.Ref{Node: class.node}}
	for rel, value := range map[string]string{
		"Alias": alias, "SerialNumber": serialNumber(c), "Issuer": c.Issuer.String(), derParam: base64.StdEncoding.EncodeToString(c.Raw),
	} {
		if rel != "Alias" || value != "" {
			n.Params = append(n.Params, Assignment{Param: class.byName[rel].node, Value: value, Required: true})
		}
	}
	res := tx.add(n)
	switch {
	case res.Err == nil:
		return rowKey{class, res.Row.Inst}, nil
	case res.Err.Code == usp.ErrRequiredParameterFailed:
		return rowKey{}, usp.Errorf(usp.ErrInvalidCommandArguments, "", "%w", res.Err)
	case res.Err.Code == usp.ErrUniqueKeyConflict:
		return rowKey{}, usp.Errorf(usp.ErrCommandFailure, "", "the certificate was not added: %w", res.Err)
	}
	return rowKey{}, res.Err
}

// deleteCertificate is Device.LocalAgent.Certificate.{i}.Delete().
func deleteCertificate(o *operation, call Call) (map[string]string, error) {
	row := dm.Ref{Node: o.host.spec.classAt(certificateTable).node, Inst: call.Command.Inst}
	if err := o.tx.remove(row); err != nil {
		return nil, err
	}
	return nil, nil
}

// fingerprints are the algorithms of SupportedFingerprintAlgorithms.
var fingerprints = []crypto.Hash{crypto.SHA1, crypto.SHA224, crypto.SHA256, crypto.SHA384, crypto.SHA512}

func fingerprintNames() (names []string) {
	for _, f := range fingerprints {
		names = append(names, f.String())
	}
	return names
}

// getFingerprint is Device.LocalAgent.Certificate.{i}.GetFingerprint(): the
// checksum of the certificate's DER form, in hexadecimal.
func getFingerprint(o *operation, call Call) (map[string]string, error) {
	der, err := base64.StdEncoding.DecodeString(o.tx.next.named(rowKey{o.host.spec.classAt(certificateTable), call.Command.Inst}, derParam))
	if err != nil || len(der) == 0 {
		return nil, usp.Errorf(usp.ErrCommandFailure, "", "the certificate is not kept whole")
	}
	for _, f := range fingerprints {
		if f.String() == call.Args["FingerprintAlgorithm"] {
			sum := f.New()
			sum.Write(der)
			return map[string]string{"Fingerprint": fmt.Sprintf("%X", sum.Sum(nil))}, nil
		}
	}
	return nil, usp.Errorf(usp.ErrInvalidCommandArguments, "", "FingerprintAlgorithm %q: one of %s is wanted",
		shorten(call.Args["FingerprintAlgorithm"]), strings.Join(fingerprintNames(), ", "))
}
