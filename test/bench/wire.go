package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/uspbridge/uspbridge/cwmp"
	"github.com/uspbridge/uspbridge/cwmp/soap"
)

// wire is a CPE that does as little as a session needs, one step at a time, so
// that thousands can be in the middle of one without a goroutine each.
type wire struct {
	conn   net.Conn
	in     *bufio.Reader
	cookie string
	serial string
	asked  *soap.Envelope // by the bridge; nil: nothing
	ended  bool           // with 204
}

// wireParameters are all that such a CPE has.
var wireParameters = []string{"DeviceInfo.Manufacturer", "DeviceInfo.ManufacturerOUI", "DeviceInfo.ProductClass", "DeviceInfo.SerialNumber",
	"DeviceInfo.SoftwareVersion", "ManagementServer.ConnectionRequestURL", "ManagementServer.PeriodicInformInterval"}

func newWire(acs, serial string) (*wire, error) {
	conn, err := net.Dial("tcp", acs)
	if err != nil {
		return nil, err
	}
	return &wire{conn: conn, in: bufio.NewReaderSize(conn, 2048), serial: serial}, nil
}

// inform opens a session.
func (w *wire) inform() error {
	inform := &cwmp.Inform{DeviceID: cwmp.DeviceID{Manufacturer: "Bench", OUI: "00005E", ProductClass: "Wire", SerialNumber: w.serial},
		Events: []cwmp.Event{{Code: cwmp.EventBootstrap}, {Code: cwmp.EventBoot}}, MaxEnvelopes: 1, CurrentTime: "2026-01-01T00:00:00Z",
		ParameterList: []cwmp.ParameterValue{value("Device.DeviceInfo.SoftwareVersion", "1")}}
	if err := w.post(&soap.Envelope{ID: "1", HasID: true, Version: cwmp.Version1_2, Body: inform}); err != nil {
		return err
	}
	if w.asked == nil || w.asked.Body.RPC() != "InformResponse" {
		return fmt.Errorf("%s: the Inform was not answered", w.serial)
	}
	return w.post(nil)
}

// answer answers what was asked and reads what is asked next.
func (w *wire) answer() error {
	var body cwmp.Message
	switch m := w.asked.Body.(type) {
	case *cwmp.GetParameterNames:
		names := &cwmp.GetParameterNamesResponse{}
		for _, p := range wireParameters {
			names.Parameters = append(names.Parameters, cwmp.ParameterInfo{Name: cwmp.Path("Device." + p)})
		}
		body = names
	case *cwmp.GetParameterValues:
		values := &cwmp.GetParameterValuesResponse{}
		for _, n := range m.Names {
			values.Values = append(values.Values, value(string(n), "1"))
		}
		body = values
	default:
		body = cwmp.NewFault(cwmp.FaultMethodNotSupported)
	}
	return w.post(&soap.Envelope{ID: w.asked.ID, HasID: w.asked.HasID, Version: w.asked.Version, Body: body})
}

func value(name, text string) cwmp.ParameterValue {
	return cwmp.ParameterValue{Name: cwmp.Path(name), Value: cwmp.Value{Type: cwmp.TypeString, Text: text}}
}

// post sends an envelope, nil for none, and reads the answer.
func (w *wire) post(env *soap.Envelope) error {
	var body []byte
	if env != nil {
		body = soap.Append(nil, env)
	}
	request := fmt.Appendf(nil, "POST / HTTP/1.1\r\nHost: acs\r\nCookie: %s\r\nContent-Length: %d\r\n\r\n%s", w.cookie, len(body), body)
	if err := w.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if _, err := w.conn.Write(request); err != nil {
		return err
	}
	resp, err := http.ReadResponse(w.in, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if set := resp.Header.Get("Set-Cookie"); set != "" {
		w.cookie, _, _ = strings.Cut(set, ";")
	}
	w.asked, w.ended = nil, resp.StatusCode == http.StatusNoContent
	if resp.StatusCode != http.StatusOK {
		if w.ended {
			return nil
		}
		return fmt.Errorf("%s: %s: %s", w.serial, resp.Status, text)
	}
	w.asked, err = soap.Read(text, resp.Header.Get("Content-Type"), soap.DefaultLimits())
	return err
}
