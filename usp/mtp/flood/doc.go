// Package flood bounds what one endpoint can make the program do: records and
// bytes in a second. It stands between transports and their Handler, and knows of
// a record only who sent it. Its memory is fixed, whatever senders are made up.
package flood
