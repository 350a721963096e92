// Package credential keeps what CPE authenticate with towards the ACS: user names
// and passwords of single devices and of groups of devices (rules). It knows the
// store and the vocabulary of CWMP, neither sessions nor HTTP: package acs asks it
// at each Inform through acs.Credentials' method, and judges what the CPE sent.
//
// A credential is for a Scope, a device key in which * and ? stand for any text
// and any character. One whose serial number is exact is a device's; it is one
// record in the store, found by its key, however many there are. The others are
// rules; they are few and kept in memory, the most specific first.
//
// What a device must know is decided by the first that there is of: its own
// credential, the most specific rule that it falls under, the file of users. So a
// device with a credential of its own is not let in with the one of its group.
//
// Passwords are sealed in the store, not hashed: digest needs the password or a
// hash that is as good as it (HA1) for every realm and algorithm, and a realm may
// be changed.
package credential
