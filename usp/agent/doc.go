// Package agent is one USP agent, many times over: it answers the messages of
// controllers for every hosted endpoint, from a Model of the device and from the
// agent's own objects (Device.LocalAgent. and the like), which it keeps in the
// store. It decides about roles, paths, subscriptions, requests and
// notifications; it knows USP paths only and nothing of CWMP.
//
// In the flow it stands between package record (records in and out, over the
// transports of package mtp) and Model (the device). Nothing of it lives per
// idle agent: state is loaded when a record or an event comes, and dropped again.
package agent
