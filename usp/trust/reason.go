package trust

// Reason is why a certificate is not taken as a peer's. It is what metrics are
// counted by, and an error: errors.Is(err, trust.Expired).
type Reason string

// The reasons. New ones are added where they belong; the names are in metrics.
const (
	NoCertificate Reason = "no_certificate"
	Malformed     Reason = "malformed"
	NoEndpoint    Reason = "no_endpoint"
	OtherEndpoint Reason = "other_endpoint"
	Expired       Reason = "expired"
	WrongUse      Reason = "wrong_use"
	Revoked       Reason = "revoked"
	Untrusted     Reason = "untrusted"
	Changed       Reason = "changed"
)

var reasonTexts = map[Reason]string{
	NoCertificate: "no certificate was shown",
	Malformed:     "the certificate chain is malformed",
	NoEndpoint:    "the certificate names no endpoint in its subjectAltName (urn:bbf:usp:id:…)",
	OtherEndpoint: "the certificate is another endpoint's",
	Expired:       "the certificate is not valid now",
	WrongUse:      "the certificate is not for this use",
	Revoked:       "the certificate was revoked",
	Untrusted:     "the certificate was signed by nobody who is trusted",
	Changed:       "the certificate is not the one that is kept of this endpoint",
}

// Error implements error.
func (r Reason) Error() string { return reasonTexts[r] }
