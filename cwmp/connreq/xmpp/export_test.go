package xmpp

import "encoding/xml"

// Judge reads an IQ and returns what it means.
func Judge(iq []byte, to string) error {
	var a answer
	if err := xml.Unmarshal(iq, &a); err != nil {
		return unreadable(err)
	}
	return a.judge(to)
}
