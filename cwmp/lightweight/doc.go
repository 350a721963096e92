// Package lightweight takes in lightweight notifications (TR-069 Annex M): value
// changes that a CPE tells in one datagram, without opening a session. The
// datagram is an HTTP POST in form; its body is a Notification
// (cwmp-UDPLightweightNotification-1-0.xsd), signed in the header Signature with
// the password that the CPE authenticates to its ACS with.
//
// It reads datagrams, finds out whether they are genuine, and hands them on. It
// keeps nothing: whether a notification is new is for whoever knows the device.
// Nothing is answered, so a forged source gains nothing.
package lightweight
